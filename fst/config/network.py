"""The networks' settings, which are what their constructors take."""

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from fst.config.checks import LARGEST_WIDTH, MAX_BLOCKS, at_least, one_of
from fst.errors import UserError


@dataclass
class AnyNetworkConfig:
    """A network: its name in configurations and model files, then its settings."""

    network: ClassVar[str]
    """Where its class is, `package.module.Class`: importing it here would import torch."""

    name: str = MISSING

    def arguments(self) -> dict[str, Any]:
        """Return the settings without the name, as a model file keeps them."""
        return {key: value for key, value in vars(self).items() if key != "name"}


@dataclass
class NetworkConfig(AnyNetworkConfig):
    """A transformer network."""


@dataclass
class JohnsonConfig(NetworkConfig):
    """Johnson et al. 2016, supplementary material, table 1."""

    network = "fst.networks.johnson.Johnson"

    name: str = "johnson"
    width: int = 32
    """Channels of the first convolution; each of the two stride-2 ones doubles them."""
    residual_blocks: int = 5
    """Residual blocks at quarter resolution."""
    norm: str = "instance"
    """`instance` (Ulyanov et al. 2016) or the paper's `batch`."""
    upsample: str = "nearest"
    """`nearest` and a convolution (Odena et al. 2016) or the paper's `transposed` convolution."""
    output: str = "tanh"
    """How [0, 1] is reached: `tanh`, scaled and shifted, or `clamp` (foreign weights)."""

    def __post_init__(self) -> None:
        at_least("network.width", self.width, 1, LARGEST_WIDTH)
        at_least("network.residual_blocks", self.residual_blocks, 0, MAX_BLOCKS)
        one_of("network.norm", self.norm, ("instance", "batch"))
        one_of("network.upsample", self.upsample, ("nearest", "transposed"))
        one_of("network.output", self.output, ("tanh", "clamp"))


@dataclass
class FastConfig(NetworkConfig):
    """The default: the same job at a fraction of the cost (see `fst.networks.fast.Fast`)."""

    network = "fst.networks.fast.Fast"

    name: str = "fast"
    width: int = 40
    """Channels at quarter resolution; more is slower, and better after a long training."""
    residual_blocks: int = 2
    """Residual blocks at quarter resolution, half of them before the coarse stage."""
    coarse_width: int = 64
    """Channels at an eighth of the resolution, a multiple of 4."""
    coarse_blocks: int = 4
    """Residual blocks at an eighth of the resolution: large shapes; 0 leaves the stage out."""
    full_width: int = 12
    """Channels at full resolution, before the last convolution."""

    def __post_init__(self) -> None:
        at_least("network.width", self.width, 8, LARGEST_WIDTH)
        at_least("network.residual_blocks", self.residual_blocks, 0, MAX_BLOCKS)
        at_least("network.coarse_width", self.coarse_width, 4, LARGEST_WIDTH)
        if self.coarse_width % 4:
            raise UserError(f"network.coarse_width={self.coarse_width} must be a multiple of 4")
        at_least("network.coarse_blocks", self.coarse_blocks, 0, MAX_BLOCKS)
        at_least("network.full_width", self.full_width, 1, LARGEST_WIDTH)


NETWORKS: dict[str, type[NetworkConfig]] = {each.name: each for each in (JohnsonConfig, FastConfig)}
"""The transformer networks' settings by name."""
