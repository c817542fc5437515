"""Everything that `fst optimize` takes."""

from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fst.config.checks import (
    LARGEST_RATE,
    above_zero,
    at_least,
    check_seed,
    existing,
    inside_folder,
    one_of,
    refuse_set_name,
    shares,
    title_of,
)
from fst.config.loss import LossConfig, compatible, large_enough
from fst.config.loss_network import LossNetworkConfig
from fst.config.training import PRECISIONS, RUNS_DIR
from fst.errors import UserError


@dataclass
class OptimizeConfig:
    """Everything that `fst optimize` takes."""

    loss: LossConfig = MISSING
    loss_network: LossNetworkConfig = MISSING
    content: str = MISSING
    """The photograph."""
    styles: list[str] = MISSING
    """The style pictures, and folders of several works of one style; `style=PICTURE` is short for
    `styles=[PICTURE]`."""
    style_shares: list[float] = field(default_factory=list)
    """Share of each style picture or folder, normalised to a sum of 1; empty means equal shares."""
    style_scale: float = 1.0
    """The style's shorter side relative to the result's: larger gives larger strokes."""
    size_px: int = 512
    """The result's shorter side."""
    coarsest_px: int | None = None
    """Shorter side to start at, doubled until `size_px`; null means 128, or `size_px` if `init` is
    a picture or a model."""
    init: str = "content"
    """Where to start: `content`, `noise`, a picture, or the result of a model."""
    method: str = "lbfgs"
    """`lbfgs` or `adam`."""
    learning_rate: float = 0.02
    """Learning rate of Adam."""
    iterations: int = 150
    """Maximum number of iterations at each size."""
    tolerance: float = 1e-3
    """Continue with the next size when ten iterations lower the total by less than this share."""
    report_every: int = 10
    """Iterations between two reports, each with the current picture."""
    precision: str = "fp32"
    """`fp32` (TF32 on GPUs that have it), or autocast to `bf16` or `fp16`."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cuda`, `cuda:1`, `mps`, `cpu` ..."""
    name: str | None = None
    """The run's name; null uses the names of the content and the styles."""
    runs_dir: str = RUNS_DIR
    """Folder of the run folders."""
    output: str | None = None
    """Result file; null writes `stylized.png` into the run folder."""
    overwrite: bool = False
    """Replace a result that exists."""
    seed: int = 0
    """Seed of the noise that `init=noise` starts from."""

    def __post_init__(self) -> None:
        existing("content", self.content)
        if not self.styles:
            raise UserError("styles=[] is empty: name a picture, or several")
        for picture in self.styles:
            existing("style", picture)
        shares("style_shares", self.style_shares, self.styles)
        for group in ("loss", "loss_network"):
            refuse_set_name(group, getattr(self, group))
        compatible(self.loss, self.loss_network)
        if self.loss.temporal_weight:
            raise UserError(
                f"loss.temporal_weight={self.loss.temporal_weight} trains a network to be steady; "
                "fst optimize trains none: leave it out"
            )
        one_of("method", self.method, ("lbfgs", "adam"))
        one_of("precision", self.precision, PRECISIONS)
        check_seed(self.seed)
        at_least("size_px", self.size_px, 32)
        at_least("iterations", self.iterations, 1)
        at_least("report_every", self.report_every, 1)
        at_least("tolerance", self.tolerance, 0)
        above_zero("learning_rate", self.learning_rate, LARGEST_RATE)
        above_zero("style_scale", self.style_scale, 64)
        if self.coarsest_px is None:
            fresh = self.init in ("content", "noise")
            self.coarsest_px = min(128, self.size_px) if fresh else self.size_px
        if not 32 <= self.coarsest_px <= self.size_px:
            raise UserError(
                f"coarsest_px={self.coarsest_px} must be in [32, size_px={self.size_px}]"
            )
        smallest_px = round(min(1, self.style_scale) * self.sizes_px[0])
        large_enough(smallest_px, self.loss, "coarsest_px and style_scale")
        self.name = self.name or "+".join(map(title_of, (self.content, *self.styles)))
        inside_folder(self.runs_dir, self.name)

    @property
    def sizes_px(self) -> list[int]:
        """The shorter sides, from coarse to fine: `size_px` halved down to `coarsest_px`."""
        sizes = [self.size_px]
        while sizes[0] // 2 >= (self.coarsest_px or self.size_px):
            sizes.insert(0, sizes[0] // 2)
        return sizes

    @property
    def run_dir(self) -> Path:
        """The folder that the run writes to."""
        return Path(self.runs_dir) / str(self.name)
