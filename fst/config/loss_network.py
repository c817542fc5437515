"""The loss networks' settings, and the layers that each has."""

from dataclasses import dataclass
from typing import ClassVar

from omegaconf import MISSING

from fst.config.checks import existing

VGG16_LAYERS = tuple(
    f"relu{block}_{conv}"
    for block, convs in enumerate((2, 2, 3, 3, 3), 1)
    for conv in range(1, convs + 1)
)
"""Names of VGG16's thirteen rectified convolutions, from the picture down."""
SLIM_LAYERS = ("relu1_2", "relu2_2", "relu3_3")
"""Those of them that the small loss network of the package has."""


@dataclass
class LossNetworkConfig:
    """The frozen network in whose features pictures are compared."""

    name: str = MISSING
    layers: ClassVar[tuple[str, ...]]
    """What it can compare at."""


@dataclass
class Vgg16Config(LossNetworkConfig):
    """VGG16 itself, as everybody has it."""

    name: str = "vgg16"
    layers = VGG16_LAYERS
    weights: str | None = None
    """A file of VGG16 weights; null takes the cache, else downloads them there (528 MB once)."""
    verify: bool = True
    """Refuse weights that are not the published Oxford ones (conv1_1 to conv3_3 are checked)."""

    def __post_init__(self) -> None:
        if self.weights is not None:
            existing("loss_network.weights", self.weights)


@dataclass
class SlimConfig(LossNetworkConfig):
    """VGG16 distilled to a fraction of its work, in the package (see `fst.losses.slim.Slim`)."""

    name: str = "slim"
    layers = SLIM_LAYERS
