"""Measure what the size of strokes costs: seconds and memory; prints a Markdown table.

    python scripts/measure/strokes.py starry_night --size 2160x3840 --strokes 1,4.2 --rounds 3

Sizes of strokes take turns, medians are shown. Memory is the peak of the process above what it had
before the first picture, so each size of strokes is measured in a process of its own.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

import fst
from fst.report import table


def main() -> None:
    """Measure each size of strokes in turns, in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--size", default="2160x3840", help="HEIGHTxWIDTH of the picture")
    parser.add_argument("--strokes", default="1,4.2", help="sizes, comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    height, width = map(int, given.size.split("x"))
    if given.one is not None:
        print(json.dumps(measure(given.model, height, width, given.one)))
        return
    found: dict[str, list[tuple[float, float]]] = {each: [] for each in given.strokes.split(",")}
    for _ in range(given.rounds):
        for each, taken in found.items():
            command = [sys.executable, *sys.argv, "--one", each]
            taken.append(json.loads(subprocess.check_output(command)))
    rows = []
    for each, taken in found.items():
        seconds, nbytes = (statistics.median(values) for values in zip(*taken, strict=True))
        rows.append([each, f"{seconds:.1f}", f"{nbytes / (height * width):.0f}"])
    print(*table(["strokes", "seconds", "bytes a pixel"], rows), sep="\n")


def measure(model: str, height: int, width: int, strokes: float) -> tuple[float, float]:
    """Return the seconds of a picture on one thread, and by how many bytes the peak rises."""
    torch.set_num_threads(1)
    stylize = fst.load(model, "cpu")
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(256, (1, 3, height, width), dtype=torch.uint8, generator=generator)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    stylize(picture, strokes=strokes)
    seconds = time.perf_counter() - started
    return seconds, 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main()
