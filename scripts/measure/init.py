"""Measure how many images initializing from a trained model saves.

python scripts/measure/init.py PHOTOGRAPHS STYLE... --init MODEL [--images 800] [--output runs/init]

Each style is trained with `experiment=quick loss_network=slim`, from nothing and from the model,
all else alike. The table says after how many images, the schedules being as long, each first was as
good on held-out photographs as training from nothing was at its end.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

EVERY = 40  # images between two judgements


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("styles", type=Path, nargs="+")
    parser.add_argument("--init", required=True)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--output", type=Path, default=Path("runs/init"))
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    print("| style | from nothing: last loss | from the model: last loss | as good after | share |")
    print("|---|---|---|---|---|")
    shares = []
    for style in given.styles:
        cold = heldout_losses(given, style, "nothing")
        warm = heldout_losses(given, style, "model", f"init={given.init}")
        end = list(cold.values())[-1]
        reached = next((seen for seen, loss in warm.items() if loss <= end), None)
        shares.append((reached or given.images) / given.images)
        after = f"{reached} images" if reached else "never"
        print(
            f"| {style.stem} | {end:.3f} | {list(warm.values())[-1]:.3f} | {after} "
            f"| {shares[-1]:.2f} |",
            flush=True,
        )
    print(f"| mean | | | | {statistics.mean(shares):.2f} |")


def heldout_losses(
    given: argparse.Namespace, style: Path, start: str, *overrides: str
) -> dict[int, float]:
    """Train the style; return the total held-out loss by images seen."""
    name = f"{style.stem}/{start}"
    command = [sys.executable, "-m", "fst", "train", f"style={style}", "experiment=quick"]
    command += [f"data.path={given.photographs}", "loss_network=slim", f"name={name}"]
    command += [f"runs_dir={given.output}", f"training.images={given.images}"]
    command += [f"training.save_every={EVERY}", *overrides, *given.overrides]
    subprocess.run(command, check=True, stdout=sys.stderr)
    lines = (given.output / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    reports = [json.loads(line) for line in lines]
    return {r["seen_images"]: r["heldout/total"] for r in reports if "heldout/total" in r}


if __name__ == "__main__":
    main()
