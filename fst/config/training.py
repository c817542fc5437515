"""Everything that `fst train` takes."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fst.config.checks import (
    LARGEST_RATE,
    above_zero,
    at_least,
    check_seed,
    inside_folder,
    one_of,
    refuse_set_name,
)
from fst.config.data import DataConfig
from fst.config.loss import TEMPORAL_PX, LossConfig, compatible, large_enough
from fst.config.loss_network import LossNetworkConfig
from fst.config.network import AnyNetworkConfig, NetworkConfig
from fst.config.style import AnyStyleConfig, OneStyleConfig, StyleConfig
from fst.errors import UserError

RUNS_DIR = "runs"
"""Default of `runs_dir`; a run below it is named without it wherever a model is given."""
LONGEST_MINUTES = 60 * 24 * 365
"""A year."""
PRECISIONS = ("fp32", "bf16", "fp16")
"""Names of the precisions to compute in."""


@dataclass
class OptimizerConfig:
    """Adam (Kingma & Ba 2015): linear warm-up, cosine decay to zero, both counted in images."""

    name: str = "adam"
    learning_rate: float = 2e-3
    """Highest learning rate, reached after the warm-up."""
    beta1: float = 0.9
    """Decay of the first moment."""
    beta2: float = 0.99
    """Decay of the second moment."""
    warmup_fraction: float = 0.05
    """Share of `training.images` over which the learning rate rises."""
    clip_norm: float = 1.0
    """Maximum norm of the gradient; larger gradients are scaled down."""

    def __post_init__(self) -> None:
        above_zero("optimizer.learning_rate", self.learning_rate, LARGEST_RATE)
        for name in ("beta1", "beta2", "warmup_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"optimizer.{name}={getattr(self, name)} must be in [0, 1)")
        above_zero("optimizer.clip_norm", self.clip_norm, math.inf)


@dataclass
class ScheduleConfig:
    """How long to train and how to run, whatever is trained."""

    images: int = 160_000
    """Images to train on (rounded up to full batches)."""
    minutes: float | None = None
    """Train for about this long instead of on `images`: the first steps are timed, and the schedule
    is made for as many images as there is time for."""
    batch_size: int = 4
    """Images per step, over all processes."""
    report_every: int = 200
    """Images between two lines of `metrics.jsonl`."""
    save_every: int = 2_000
    """Images between two saves, each with the held-out losses and pictures."""
    ema_half_life: int = 400
    """Half-life, in images, of the moving average of the weights that becomes the model."""
    precision: str = "auto"
    """`fp32` (TF32 on GPUs that have it), autocast to `bf16` or `fp16`, or `auto`: `bf16` where the
    device computes it fast, else `fp32`."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cuda`, `cuda:1`, `mps`, `cpu` ..."""
    compile: bool | None = None
    """Whether to use `torch.compile`; null compiles on CUDA only."""
    profile: bool = False
    """Whether to profile eight early steps: prints the ten operations that took longest and writes
    `steps.pt.trace.json`, which Perfetto opens."""

    def __post_init__(self) -> None:
        for name in ("images", "report_every", "save_every", "ema_half_life"):
            at_least(f"training.{name}", getattr(self, name), 1)
        if self.minutes is not None:
            above_zero("training.minutes", self.minutes, LONGEST_MINUTES)
        at_least("training.batch_size", self.batch_size, 1, 65_536)
        one_of("training.precision", self.precision, ("auto", *PRECISIONS))


@dataclass
class TrainingConfig(ScheduleConfig):
    """How long to train on a style, and how to run."""

    palette: float = 0.5
    """How far to move the trained network's colours towards the painting's, 0 to 1: training alone
    gives them its hues, but less of its contrast. `any=` takes 0.9."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.palette <= 1:
            raise UserError(f"training.palette={self.palette} must be in [0, 1]")


@dataclass
class RunConfig:
    """What every training takes, whatever is trained."""

    network: AnyNetworkConfig = MISSING
    data: DataConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    training: ScheduleConfig = field(default_factory=ScheduleConfig)
    name: str | None = None
    """The run's name."""
    runs_dir: str = RUNS_DIR
    """Folder of the run folders. Runs in `runs/` are found by name, others by their folder."""
    seed: int = 0
    """Seed of the initial weights, the order of the pictures and their crops."""
    init: str | None = None
    """A trained model of the same network to start from: its name, run folder or file. One that
    takes any painting, such as `any`, gives what it predicts for the style."""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for group in ("network", "optimizer"):
            refuse_set_name(group, getattr(self, group))
        if self.data.kind != type(self.data).kind:
            raise UserError(f"data.kind={self.data.kind} cannot be set: choose it with data=...")
        if self.init == "":
            raise UserError("init= is empty")
        inside_folder(self.runs_dir, self.name)

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.runs_dir) / str(self.name)


@dataclass
class TrainConfig(RunConfig):
    """Everything that `fst train` takes."""

    network: NetworkConfig = MISSING
    loss: LossConfig = MISSING
    loss_network: LossNetworkConfig = MISSING
    style: StyleConfig = MISSING
    training: TrainingConfig = field(default_factory=TrainingConfig)
    name: str | None = None
    """The run's name; null uses the style's title."""

    def __post_init__(self) -> None:
        self.name = self.name or self.style.title
        super().__post_init__()
        for group in ("loss", "loss_network"):
            refuse_set_name(group, getattr(self, group))
        compatible(self.loss, self.loss_network)
        smallest_px = min(self.data.crop_px, self.data.heldout_px, self.style.smallest_px)
        large_enough(smallest_px, self.loss, "data.crop_px and style.size_px")
        if self.loss.temporal_weight and self.data.crop_px < TEMPORAL_PX:
            raise UserError(
                f"loss.temporal_weight={self.loss.temporal_weight} moves crops, and "
                f"data.crop_px={self.data.crop_px} is too small for that: use at least "
                f"{TEMPORAL_PX}"
            )
        if isinstance(self.style, AnyStyleConfig):
            if not self.loss.mixes_styles:
                raise UserError(f"loss={self.loss.name}: any= is trained with loss=moments")
            if self.loss.content_target is not None:
                raise UserError(
                    f"loss.content_target={self.loss.content_target} adapts the weight of a style, "
                    "and any= makes that weight an input: leave it out"
                )
        several = not isinstance(self.style, OneStyleConfig)
        if several and self.network.arguments().get("norm") == "batch":
            raise UserError(
                "network.norm=batch has one style: several need network.norm=instance, "
                "whose scales and shifts are a style"
            )
