"""The loss networks' settings, and the layers that each has."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

from omegaconf import MISSING

from fst.config.checks import existing, one_of

VGG16_LAYERS = tuple(
    f"relu{block}_{conv}"
    for block, convs in enumerate((2, 2, 3, 3, 3), 1)
    for conv in range(1, convs + 1)
)
"""Names of VGG16's thirteen rectified convolutions, from the picture down."""
SLIM_CHANNELS = {"relu1_2": 32, "relu2_2": 96, "relu3_3": 192}
"""The layers that the small loss network can compare at, and the channels of each."""
SLIM_LAYERS = tuple(SLIM_CHANNELS)
Padding: TypeAlias = Literal["reflect", "zeros"]
"""What is beyond the border of a loss network's features."""


@dataclass
class LossNetworkConfig:
    """The frozen network in whose features pictures are compared."""

    name: str = MISSING
    layers: ClassVar[tuple[str, ...]]
    """Layers that it can compare at."""
    padding: str = "reflect"
    """What is beyond the border of its features: `reflect`, or `zeros` as VGG16 was trained, which
    leaves a frame of low contrast around stylized pictures."""

    def __post_init__(self) -> None:
        one_of("loss_network.padding", self.padding, get_args(Padding))


@dataclass
class Vgg16Config(LossNetworkConfig):
    """VGG16 with the published weights."""

    name: str = "vgg16"
    layers = VGG16_LAYERS
    weights: str | None = None
    """VGG16 weights file; null uses the cache, and downloads them there once (528 MB)."""
    verify: bool = True
    """Refuse weights other than the published Oxford ones (conv1_1 to conv3_3 are checked)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights is not None:
            existing("loss_network.weights", self.weights)


@dataclass
class SlimConfig(LossNetworkConfig):
    """VGG16 distilled to a fraction of its cost; ships with fst (see `fst.losses.slim.Slim`)."""

    name: str = "slim"
    layers = SLIM_LAYERS
