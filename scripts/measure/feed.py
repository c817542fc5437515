"""Measure how fast one core makes training crops of photographs, before and after `fst prepare`.

python scripts/measure/feed.py photographs/ prepared-512/ prepared-384/ --style painting.jpg

The sources take turns; the table has the medians of the rounds. The last column is measured in
place: of the time of 30 steps of `experiment=quick`, how much the step waits for its image.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator

import torch

from fst.cli.train import compose_training
from fst.config import DataConfig
from fst.data.batches import Batch, ContentDataset, open_data
from fst.data.resident import ResidentDataset
from fst.data.sources import describe_source
from fst.errors import one_line_errors
from fst.report import number, table
from fst.training.distributed import World
from fst.training.run import Run
from fst.training.stopping import StopRequest
from fst.training.style import StyleTask

STEPS = 30


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", help="folders of pictures or of parquet files")
    parser.add_argument("--style", required=True, help="the painting")
    parser.add_argument("--resident", action="store_true", help="also crops of decoded pictures")
    parser.add_argument("--images", type=int, default=100, help="crops in a round")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with one_line_errors("measure_feed"):
        described = {name: describe_source(name, "image", "") for name in given.sources}
        feeds = {name: open_data(data, seed=0).train for name, data in described.items()}
        if given.resident:
            cpu = torch.device("cpu")
            feeds |= {f"{it}, resident": ResidentDataset(feeds[it], cpu) for it in given.sources}
        rates = defaultdict(list)
        for turn in range(given.rounds):
            for name, feed in feeds.items():
                rates[name].append(rate(feed, turn * given.images, given.images))
        waits = {name: waiting(data, given.style) for name, data in described.items()}
    medians = {name: statistics.median(measured) for name, measured in rates.items()}
    first = medians[given.sources[0]]
    rows = [
        [name, f"{it:.0f}", f"{it / first:.2f}", number(waits.get(name), ".1%")]
        for name, it in medians.items()
    ]
    header = ["photographs", "crops/s", "times the first", "of the training, waiting"]
    print(*table(header, rows), sep="\n")


def rate(feed: ContentDataset, start: int, images: int) -> float:
    """Return how many crops a second one core makes."""
    began = time.perf_counter()
    for position in range(start, start + images):
        crop, _ = feed[position]
        assert crop is not None
    return images / (time.perf_counter() - began)


def waiting(data: DataConfig, style: str) -> float:
    """Return the share of a training's steps that is spent waiting for images."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            f"style={style}", "experiment=quick", f"data={data.kind}",
            f"data.path={data.path}", f"training.images={STEPS}", f"runs_dir={folder}",
            "data.heldout_images=1",
        ]  # fmt: skip
        run = Timed(StyleTask, compose_training(overrides), World(), torch.device("cpu"))
        with StopRequest() as stop:
            run.run(stop, console=False)
    return run.waited / run.took


class Timed(Run):
    """A run that measures how long it waits for images, from its second step on."""

    waited = took = 0.0

    def batches(self) -> Iterator[Batch]:
        """Yield the batches; count the time of all, and of waiting for them."""
        batches = super().batches()
        yield next(batches)  # while the workers start
        began = time.perf_counter()
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                break
            yield batch
        self.took = time.perf_counter() - began


if __name__ == "__main__":
    main()
