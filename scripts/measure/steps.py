r"""Compare the time of a training step by recipe, in turns; prints a Markdown table.

python scripts/measure/steps.py style=PICTURE data.path=photographs/ experiment=quick \
    --recipe now --recipe 'before loss.light_weight=0 loss.colour_weight=0 loss.style_pictures=1' \
    --recipe 'steady loss.temporal_weight=10'

A recipe is a name and overrides of its own; the others are those of all. The first is compared
with. Nothing is written; the crops are read before the clock runs.
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice

import torch
from torch import Tensor

from fst.cli.train import compose_training
from fst.report import table
from fst.training.distributed import World
from fst.training.registry import TASKS
from fst.training.run import Run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", action="append", required=True, metavar="'NAME OVERRIDES'")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="of each recipe in a round")
    given, overrides = parser.parse_known_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for recipe in given.recipe:
            name, *own = recipe.split()
            runs[name] = open_run([*overrides, *own, f"name={name}", f"runs_dir={folder}"])
        crops = next(iter(runs.values())).batches()
        batches = [images for images, _ in islice(crops, given.steps)]
        for run in runs.values():
            steps(run, batches)  # caches, the first batch of a pool
        for _ in range(given.rounds):
            for name, run in runs.items():
                seconds.setdefault(name, []).append(steps(run, batches))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    first = next(iter(medians.values()))
    rows = [
        [
            name,
            f"{1000 * median:.0f} ms",
            f"{median / first:.2f}",
            f"{min(seconds[name]) * 1000:.0f} ms",
        ]
        for name, median in medians.items()
    ]
    print(*table(["recipe", "step, median", "ratio", "fastest round"], rows), sep="\n")


def open_run(overrides: list[str]) -> Run:
    """Return a run that nobody has started."""
    config = compose_training(overrides)
    return Run(TASKS[type(config.style)], config, World(), torch.device("cpu"))


def steps(run: Run, batches: list[Tensor]) -> float:
    """Return the mean seconds of a step over these batches."""
    start = time.perf_counter()
    for images in batches:
        run.step(images)
    return (time.perf_counter() - start) / len(batches)


if __name__ == "__main__":
    main()
