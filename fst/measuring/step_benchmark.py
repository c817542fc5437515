"""The speed of a training step on this machine, against a plain one, and where its time goes.

Plain is what a port of the papers' code does: eager fp32, NCHW, the network as it is written, every
norm and loss through autograd. Both steps see the same batch, in turns.
"""

import copy
import dataclasses
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from fst.atomic import write_texts
from fst.config import (
    NETWORKS,
    FolderDataConfig,
    LossNetworkConfig,
    MomentsLossConfig,
    NetworkConfig,
    OptimizerConfig,
    PictureConfig,
    SlimConfig,
    TrainConfig,
    TrainingConfig,
    Vgg16Config,
)
from fst.data.batches import without_margin
from fst.device import autocast, pick_device, tf32
from fst.errors import UserError
from fst.measuring.machine import Machine, measure_machine, seconds_of
from fst.networks.cost import flops_of
from fst.networks.plain import plain
from fst.networks.styled import in_style
from fst.pictures.image import to_unit_range
from fst.report import table
from fst.training.distributed import World
from fst.training.run import Run
from fst.training.style import StyleTask


@dataclass
class StepRow:
    """A training step of one network, plain or ours; seconds are medians."""

    network: str
    step: str
    """`plain` or `fst`."""
    seconds: float
    images_per_second: float
    times_plain: float
    """How many times as fast as the plain step."""
    matmul_share: float
    """Operations of the plain step, relative to the machine's best matmul."""
    network_share: float
    """Of the seconds: the network, forward and backward."""
    loss_share: float
    """Of the seconds: the loss with its loss network, forward, and backward to the picture. What
    is left is the optimizer, the average and the rest."""


@dataclass
class StepBenchmark:
    """The result of `benchmark_steps`."""

    machine: Machine
    loss_network: str
    batch_size: int
    crop_px: int
    rows: list[StepRow]


def benchmark_steps(
    networks: Sequence[str],
    loss_network: str = "slim",
    weights: Path | None = None,
    batch_size: int = 4,
    crop_px: int = 256,
    device: str = "auto",
    rounds: int = 9,
    progress: Callable[[str], None] = lambda line: None,
) -> StepBenchmark:
    """Time training steps with the default settings and loss, plain and ours in turns.

    Args:
        networks: of `fst.config.NETWORKS`.
        loss_network: `vgg16` or `slim`.
        weights: VGG16's weights; None takes the cache, or a download.
        batch_size: images per step.
        crop_px: side that the loss sees; the network sees `data.margin_px` more on each side.
        device: `cuda`, `cpu` ...; see `pick_device`.
        rounds: timing rounds; the first of each step is a warm-up and does not count.
        progress: called with each step.

    Raises:
        UserError: an unknown network or loss network, or a number is out of range.
        FileNotFoundError: there are no weights of VGG16.
    """
    for name in networks:
        if name not in NETWORKS:
            raise UserError(f"unknown network {name!r}; choose from {', '.join(NETWORKS)}")
    if loss_network not in ("vgg16", "slim"):
        raise UserError(f"unknown loss network {loss_network!r}; choose vgg16 or slim")
    if rounds < 1 or batch_size < 1:
        raise UserError(f"rounds={rounds} and batch={batch_size} must be at least 1")
    chosen_device = pick_device(device)
    progress("measuring the machine")
    found = StepBenchmark(measure_machine(chosen_device), loss_network, batch_size, crop_px, [])
    features = (
        SlimConfig()
        if loss_network == "slim"
        else Vgg16Config(weights=None if weights is None else str(weights))
    )
    for name in networks:
        with tempfile.TemporaryDirectory() as folder:
            config = _config(NETWORKS[name](), features, batch_size, crop_px, device, Path(folder))
            run = Run(StyleTask, config, World(), chosen_device)
        found.rows += _rows(name, run, found.machine, rounds, progress)
    return found


def _config(
    network: NetworkConfig,
    loss_network: LossNetworkConfig,
    batch_size: int,
    crop_px: int,
    device: str,
    folder: Path,
) -> TrainConfig:
    """Return the default configuration, with a picture of ours as style and only photograph."""
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as own:
        picture = Path(shutil.copy(own, folder / "picture.jpg"))
    return TrainConfig(
        network=network,
        loss=MomentsLossConfig(),
        loss_network=loss_network,
        data=FolderDataConfig(path=str(folder), crop_px=crop_px, workers=0, heldout_images=0),
        optimizer=OptimizerConfig(),
        style=PictureConfig(picture=str(picture)),
        training=TrainingConfig(batch_size=batch_size, device=device),
        runs_dir=str(folder / "runs"),
    )


def _rows(
    name: str, run: Run, machine: Machine, rounds: int, progress: Callable[[str], None]
) -> list[StepRow]:
    """Time the whole step, its network and its loss, plain and ours."""
    data, batch = run.config.data, run.config.training.batch_size
    side = data.crop_px + 2 * data.margin_px
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (batch, 3, side, side), dtype=torch.uint8, generator=generator)
    steps: dict[str, PlainStep | OurStep] = {"plain": PlainStep(run), "fst": OurStep(run)}
    flops = flops_of(steps["plain"].step, images)
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        progress(f"{name}: round {number} of {rounds}")
        for kind, step in steps.items():
            for part, work in (
                ("step", step.step),
                ("network", step.network_alone),
                ("loss", step.loss_alone),
            ):
                with tf32(run.device, allowed=True) if kind == "fst" else nullcontext():
                    taken = seconds_of(run.device, work, images)
                seconds.setdefault((kind, part), []).append(taken)
    medians = {key: statistics.median(taken[1:]) for key, taken in seconds.items()}
    return [
        StepRow(
            name,
            kind,
            whole := medians[kind, "step"],
            batch / whole,
            medians["plain", "step"] / whole,
            machine.matmul_share(flops, whole),
            medians[kind, "network"] / whole,
            medians[kind, "loss"] / whole,
        )
        for kind in steps
    ]


class PlainStep:
    """A step as a port of the papers' code takes it, with the weights of a run."""

    def __init__(self, run: Run) -> None:
        self.device = run.device
        self.margin = partial(without_margin, margin_px=run.config.data.margin_px)
        task = _style_task(run)
        self.network = plain(in_style(task.transformer)).to(memory_format=torch.contiguous_format)
        self.loss = copy.deepcopy(task.loss).to(memory_format=torch.contiguous_format)
        self.optimizer = torch.optim.Adam(self.network.parameters())

    def _content(self, images: Tensor) -> Tensor:
        return images.to(self.device).float() / 255

    def step(self, images: Tensor) -> None:
        """Take one step of the optimizer on uint8 (N, 3, S, S)."""
        content = self._content(images)
        terms = self.loss(self.margin(self.network(content)), self.margin(content))
        self.optimizer.zero_grad()
        terms["total"].mean().backward()
        self.optimizer.step()

    def network_alone(self, images: Tensor) -> None:
        """Run the network, forward and backward."""
        self.network(self._content(images)).sum().backward()

    def loss_alone(self, images: Tensor) -> None:
        """Run the loss, forward, and backward to the picture."""
        content = self.margin(self._content(images))
        stylized = content.clone().requires_grad_()
        self.loss(stylized, content)["total"].mean().backward()


class OurStep:
    """A step of a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.device = run.device
        self.margin_px = run.config.data.margin_px
        self.task = _style_task(run)

    def step(self, images: Tensor) -> None:
        """Take one step of the optimizer on uint8 (N, 3, S, S)."""
        self.run.step(images)

    def network_alone(self, images: Tensor) -> None:
        """Run the network, forward and backward."""
        with autocast(self.device, self.task.descent.precision):
            result = self.task.descent.parallel(to_unit_range(images.to(self.device)))
        result.float().sum().backward()

    def loss_alone(self, images: Tensor) -> None:
        """Run the loss, forward, and backward to the picture."""
        content = without_margin(to_unit_range(images.to(self.device)), self.margin_px)
        stylized = content.clone().requires_grad_()
        with autocast(self.device, self.task.descent.precision):
            total = self.task.loss(stylized, content)["total"]
        total.mean().backward()


def _style_task(run: Run) -> StyleTask:
    assert isinstance(run.task, StyleTask)
    return run.task


def markdown(found: StepBenchmark, command: str) -> str:
    """Return the measurements as a Markdown page."""
    lines = [
        f"{found.machine.summary}; batch {found.batch_size} of {found.crop_px} px, loss network "
        f"{found.loss_network}.",
        "",
        f"`{command}`",
        "",
        *table(_COLUMNS, map(_cells, found.rows)),
    ]
    return "\n".join(lines) + "\n"


_COLUMNS = (
    "network",
    "step",
    "s",
    "images/s",
    "times plain",
    "of the best matmul",
    "network",
    "loss",
    "rest",
)


def _cells(row: StepRow) -> list[str]:
    return [
        row.network,
        row.step,
        f"{row.seconds:.3f}",
        f"{row.images_per_second:.2f}",
        f"{row.times_plain:.2f}",
        f"{row.matmul_share:.0%}",
        f"{row.network_share:.0%}",
        f"{row.loss_share:.0%}",
        f"{max(0.0, 1 - row.network_share - row.loss_share):.0%}",
    ]


def write_report(folder: Path, found: StepBenchmark, command: str) -> list[Path]:
    """Write `training.md` and `training.json` into a folder; return them."""
    content = {"command": command, **dataclasses.asdict(found)}
    return write_texts(
        folder,
        {
            "training.md": markdown(found, command),
            "training.json": json.dumps(content, indent=2) + "\n",
        },
    )
