"""The settings of training for super-resolution."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from fst.config.checks import LARGEST_WIDTH, MAX_BLOCKS, at_least, one_of, refuse_set_name
from fst.config.loss_network import LossNetworkConfig
from fst.config.network import AnyNetworkConfig
from fst.config.training import RunConfig, ScheduleConfig
from fst.errors import UserError

LARGEST_FACTOR = 8
DEGRADATIONS = ("bicubic", "johnson")
"""How small pictures are made: by antialiased bicubic downscaling, as those of the customary test
sets, or as in the paper by blurring with a standard deviation of one pixel before that (Johnson et
al. 2016, section 4.2)."""


@dataclass
class UpscalerConfig(AnyNetworkConfig):
    """A super-resolution network: its name in configurations and model files, then its settings."""

    factor: int = 4
    """Enlargement: how many times as wide and as high."""
    degradation: str = "bicubic"
    """How pictures are downscaled: `bicubic`, or the paper's `johnson`, which blurs first."""

    def __post_init__(self) -> None:
        if type(self.factor) is not int or not 2 <= self.factor <= LARGEST_FACTOR:
            raise UserError(
                f"network.factor={self.factor} must be an integer in [2, {LARGEST_FACTOR}]"
            )
        one_of("network.degradation", self.degradation, DEGRADATIONS)


@dataclass
class FastUpscalerConfig(UpscalerConfig):
    """The default, for real time (see `fst.networks.upscaler.FastUpscaler`)."""

    network = "fst.networks.upscaler.FastUpscaler"

    name: str = "fast_upscaler"
    width: int = 32
    """Channels; 64 with 16 layers is for GPUs."""
    layers: int = 8
    """Convolutions between the first and the last."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("network.width", self.width, 1, LARGEST_WIDTH)
        at_least("network.layers", self.layers, 1, MAX_BLOCKS)


@dataclass
class JohnsonUpscalerConfig(UpscalerConfig):
    """Johnson et al. 2016, supplementary material, table 2; factors 2, 4 and 8."""

    network = "fst.networks.upscaler.JohnsonUpscaler"

    name: str = "johnson_upscaler"
    width: int = 64
    """Channels."""
    residual_blocks: int = 4
    """Residual blocks at low resolution."""
    degradation: str = "johnson"
    """How pictures are downscaled: `johnson` blurs first, as in the paper; or `bicubic`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor not in (2, 4, 8):
            raise UserError(f"network.factor={self.factor} must be 2, 4 or 8 with network=johnson")
        at_least("network.width", self.width, 1, LARGEST_WIDTH)
        at_least("network.residual_blocks", self.residual_blocks, 0, MAX_BLOCKS)


UPSCALERS: dict[str, type[UpscalerConfig]] = {
    each.name: each for each in (FastUpscalerConfig, JohnsonUpscalerConfig)
}
"""The super-resolution networks' settings by name."""


@dataclass
class UpscalingLossConfig:
    """What an upscaler minimises: differences of pixels, or also of a loss network's features."""

    name: str = MISSING
    pixel: str = "absolute"
    """How pixels are compared: by `absolute` differences, or the paper's `squared` ones."""
    pixel_weight: float = 1.0
    """Weight of the pixels' difference."""
    feature_weight: float = 0.0
    """Weight of the features' difference, relative to the features themselves."""
    feature_layer: str = "relu2_2"
    """Layer at which features are compared (Johnson et al. 2016, section 3.2)."""
    grid_weight: float = 0.0
    """Weight against a pattern that repeats with the enlarged pixels."""
    tv_weight: float = 0.0
    """Weight of the total variation."""

    def __post_init__(self) -> None:
        one_of("loss.pixel", self.pixel, ("absolute", "squared"))
        one_of("loss.feature_layer", self.feature_layer, ("relu1_2", "relu2_2", "relu3_3"))
        for name in ("pixel_weight", "feature_weight", "grid_weight", "tv_weight"):
            at_least(f"loss.{name}", getattr(self, name), 0)
        if not (self.pixel_weight or self.feature_weight):
            raise UserError("loss.pixel_weight and loss.feature_weight must not both be 0")


@dataclass
class PixelLossConfig(UpscalingLossConfig):
    """Differences of pixels: the highest PSNR, and blurry where the detail is ambiguous."""

    name: str = "pixel"


@dataclass
class PerceptualLossConfig(UpscalingLossConfig):
    """Differences of features: sharp; start it from a network trained with `loss=pixel`."""

    name: str = "perceptual"
    pixel_weight: float = 2.0
    feature_weight: float = 1.0
    grid_weight: float = 50.0
    tv_weight: float = 0.002


@dataclass
class TrainUpscalerConfig(RunConfig):
    """Everything that `fst train-upscaler` takes."""

    network: UpscalerConfig = MISSING
    loss: UpscalingLossConfig = MISSING
    loss_network: LossNetworkConfig = MISSING
    training: ScheduleConfig = field(default_factory=ScheduleConfig)
    name: str | None = None
    """The run's name; null composes one from the factor and the loss."""

    def __post_init__(self) -> None:
        self.name = self.name or f"x{self.network.factor}_{self.loss.name}"
        super().__post_init__()
        for group in ("loss", "loss_network"):
            refuse_set_name(group, getattr(self, group))
        for key, fixed in (("margin_px", 0), ("min_crop_scale", 1), ("resident", False)):
            if getattr(self.data, key) != fixed:
                raise UserError(
                    f"data.{key}={getattr(self.data, key)} is for styles: here crops are cut at "
                    "full resolution, and pictures stay decoded in memory"
                )
        for key in ("crop_px", "heldout_px"):
            if (px := getattr(self.data, key)) % self.network.factor:
                raise UserError(
                    f"data.{key}={px} must be a multiple of network.factor={self.network.factor}"
                )
