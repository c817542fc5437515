"""The transformer networks' settings."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from fst.config.checks import at_least, one_of


@dataclass
class NetworkConfig:
    """A transformer network: its name in `fst.networks.registry`, then its arguments."""

    name: str = MISSING

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of the network's constructor."""
        return {key: value for key, value in vars(self).items() if key != "name"}


@dataclass
class JohnsonConfig(NetworkConfig):
    """Johnson et al. 2016, supplementary material, table 1."""

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
        at_least("network.width", self.width, 1)
        at_least("network.residual_blocks", self.residual_blocks, 0)
        one_of("network.norm", self.norm, ("instance", "batch"))
        one_of("network.upsample", self.upsample, ("nearest", "transposed"))
        one_of("network.output", self.output, ("tanh", "clamp"))


@dataclass
class FastConfig(NetworkConfig):
    """Our own: the same job at a fraction of the cost (see `fst.networks.fast.Fast`)."""

    name: str = "fast"
    width: int = 40
    """Channels of the residual blocks; more pays in long trainings, and costs."""
    residual_blocks: int = 4
    """Residual blocks at quarter resolution."""

    def __post_init__(self) -> None:
        at_least("network.width", self.width, 8)
        at_least("network.residual_blocks", self.residual_blocks, 0)
