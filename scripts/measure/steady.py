"""Measure what each part of the temporal term does for steady videos; prints a Markdown table.

    python scripts/measure/steady.py train --without noise,exposure name=RUN style=PICTURE ...
    python scripts/measure/steady.py table runs/off runs/shift ... --clips fox.mp4 dog.mp4

`train` takes the overrides of `fst train` and leaves some changes out of the second views. `table`
compares run folders with the first of them. Both losses are those of the last report on held-out
photographs. Excess warping error is the stylized video's minus the input's, flicker is that of the
static background, both in levels of 255 (`fst.measuring.stability`).
"""

import argparse
import sys
from pathlib import Path

import fst
from fst.cli.app import main as main_command
from fst.losses import temporal
from fst.measuring.stability import measure_stability
from fst.report import table
from fst.training.run_folder import RunFolder

CHANGES = {"warp": "FLOW_PX", "noise": "NOISE", "exposure": "EXPOSURE", "object": "OBJECT"}


def main() -> None:
    """Train, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("--without", default="", help=f"some of {','.join(CHANGES)}")
    tabulating = commands.add_parser("table")
    tabulating.add_argument("runs", nargs="+")
    tabulating.add_argument("--clips", type=Path, nargs="+", required=True)
    tabulating.add_argument("--frames", type=int, default=40)
    tabulating.add_argument("--size", type=int, default=256, help="shorter side of the frames")
    given, overrides = parser.parse_known_args()
    if given.command == "train":
        for change in filter(None, given.without.split(",")):
            setattr(temporal, CHANGES[change], 0.0)
        sys.argv = ["fst", "train", *overrides]
        main_command()
    else:
        print(*measure(given), sep="\n")


def measure(given: argparse.Namespace) -> list[str]:
    """Return the table's lines."""
    header = ["run", "held-out total"]
    for clip in given.clips:
        header += [f"{clip.stem}: excess warping error", f"{clip.stem}: flicker"]
    figures = {run: figures_of(run, given) for run in given.runs}
    first = figures[given.runs[0]]
    rows = []
    for run, values in figures.items():
        cells = [f"{v:.3f} ({v / v0 - 1:+.0%})" for v, v0 in zip(values, first, strict=True)]
        rows.append([Path(run).name, *cells])
    return table(header, rows)


def figures_of(run: str, given: argparse.Namespace) -> list[float]:
    """Return the figures of a run, in the order of the table's columns."""
    reports = RunFolder(Path(run)).read_metrics()
    totals = [report["heldout/total"] for report in reports if "heldout/total" in report]
    values = totals[-1:] or [float("nan")]
    stylizer = fst.load(run)
    for clip in given.clips:
        found = measure_stability(stylizer, clip, frames=given.frames, size=given.size)
        assert found.warping_error is not None and found.warping_error_input is not None
        assert found.flicker is not None
        values += [found.warping_error - found.warping_error_input, found.flicker]
        print(run, clip.stem, found, file=sys.stderr, flush=True)
    return values


if __name__ == "__main__":
    main()
