"""Train with our step, in each precision, and with a plain one; prints the held-out losses.

    python scripts/measure/numerics.py painting.jpg photographs/ --images 150 --seeds 0,1,2

Plain is eager fp32 with the network as the papers write it and its norms through autograd
(`fst.measuring.step_benchmark`), on the same crops with the same schedule. What differs by more
than seeds do is not noise.
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from fst.cli.train import compose_training
from fst.config import TrainConfig
from fst.data.batches import without_margin
from fst.losses.objective import mean_terms
from fst.losses.style_weight import adapt, missing_content
from fst.networks.plain import plain
from fst.pictures.image import to_unit_range
from fst.report import table
from fst.training.distributed import World
from fst.training.run import Run
from fst.training.schedule import learning_rate, update_average
from fst.training.style import StyleTask


def main() -> None:
    """Train each way with each seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("style", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--crop", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ways = ["plain fp32", *(f"ours, {name}" for name in given.precisions.split(","))]
    seeds = [int(seed) for seed in given.seeds.split(",")]
    rows = []
    for way in ways:
        totals = [heldout_loss(configure(given, seed, way), way == ways[0]) for seed in seeds]
        cells = [f"{total:.4f}" for total in totals]
        rows.append([way, *cells, f"{statistics.mean(totals):.4f}"])
        print(rows[-1], flush=True)
    print(*table(["step", *(f"seed {seed}" for seed in seeds), "mean"], rows), sep="\n")


def configure(given: argparse.Namespace, seed: int, way: str) -> TrainConfig:
    """Return the configuration of a training, in a folder of its own."""
    return compose_training(
        [
            f"style={given.style}", f"data.path={given.photographs}", "experiment=quick",
            f"seed={seed}", f"data.crop_px={given.crop}", f"training.images={given.images}",
            "training.batch_size=2", "training.palette=0", "data.workers=0",
            f"training.precision={way.split()[-1]}", f"runs_dir={tempfile.mkdtemp()}",
        ]
    )  # fmt: skip


def heldout_loss(config: TrainConfig, plainly: bool) -> float:
    """Train, and return the model's loss on the held-out photographs."""
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    task = run.task
    assert isinstance(task, StyleTask)
    batches = (images for images, _ in run.batches())
    if plainly:
        model = train_plainly(task, batches)
    else:
        for images in batches:
            run.step(images)
        model = task.average
    contents = to_unit_range(run.context.heldout)
    with torch.no_grad():
        stylized = torch.cat([model(picture[None]) for picture in contents])
    return mean_terms(task.heldout_loss, stylized, contents)["total"]


def train_plainly(task: StyleTask, batches: Iterable[Tensor]) -> nn.Module:
    """Return the average of the weights of a network that plain steps trained."""
    settings, rates = task.config.training, task.config.optimizer
    network, loss = plain(task.transformer), copy.deepcopy(task.loss)
    network = network.to(memory_format=torch.contiguous_format)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), betas=(rates.beta1, rates.beta2))
    seen = 0
    for images in batches:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(seen, settings.images, rates)
        content = images.float() / 255
        margin = task.config.data.margin_px
        stylized, content = (without_margin(x, margin) for x in (network(content), content))
        terms = loss(stylized, content)
        optimizer.zero_grad()
        terms["total"].mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), rates.clip_norm)
        optimizer.step()
        first = torch.zeros(len(content), dtype=torch.long)
        missing = missing_content(task.config.loss, terms["content"], first, 1)
        adapt(loss.weights, task.config.loss, missing)
        seen += settings.batch_size
        half_life = min(settings.ema_half_life, seen / 10)
        update_average(average, network, 0.5 ** (settings.batch_size / half_life))
    return average


if __name__ == "__main__":
    main()
