"""The perceptual losses' settings."""

from dataclasses import dataclass, field
from typing import ClassVar

from omegaconf import MISSING

from fst.config.checks import LARGEST_PX, at_least, one_of, shares
from fst.config.loss_network import VGG16_LAYERS, LossNetworkConfig
from fst.errors import UserError


@dataclass
class LossConfig:
    """The perceptual loss: content, style and total variation, each with its weight."""

    loss: ClassVar[str]
    """Where its class is, `package.module.Class`: importing it here would import torch."""
    mixes_styles: ClassVar[bool] = False
    """Whether what it asks of a style can be drawn anew for each picture, as `any=` does: its style
    statistics are the moments that a style predictor sees."""
    of_vgg16_alone: ClassVar[bool] = False
    """Whether its terms are those of VGG16's own channels."""

    name: str = MISSING
    content_layer: str = "relu3_3"
    """Layer at which content is compared."""
    content_weight: float = 1.0
    """Weight of the content."""
    style_layers: list[str] = MISSING
    """Layers at which the style is compared."""
    style_layer_weights: list[float] = field(default_factory=list)
    """One weight per style layer, scaled to a mean of 1; empty means equal weights."""
    style_weight: float = MISSING
    """Weight of the style; training starts from it where `content_target` is set."""
    content_target: float | None = None
    """Content distance that the style weight adapts to reach; null keeps the weight fixed."""
    style_levels: int = 1
    """Pyramid levels (full size, half, quarter ...) at which the style is compared."""
    style_tiles: int = 1
    """At 2, the style is also compared in each of 2x2 tiles of the picture, and so on: it is then
    spread evenly. Tiles have at least 64 pixels a side."""
    style_pictures: int = 1
    """Number of pictures in a row whose statistics are compared with the style as one. At 1 each
    must hold all of the painting, however calm its photograph; more lets skies be skies."""
    tv_weight: float = MISSING
    """Weight of the total variation."""
    light_weight: float = 0.0
    """Weight of the light term, which keeps large areas as light and as dark as in the photograph;
    at 0 the paint lies evenly over figure and ground."""
    colour_weight: float = 0.0
    """Weight of the colour term, which keeps large areas of one colour in the photograph of one
    colour in the result, whichever it is."""
    temporal_weight: float = 0.0
    """Weight of the temporal term, which trains for steady videos by a second pass of the network
    on a moved photograph; 0 leaves it out."""

    def __post_init__(self) -> None:
        one_of("loss.content_layer", self.content_layer, VGG16_LAYERS)
        if not self.style_layers:
            raise UserError(f"loss.style_layers is empty; name some of {', '.join(VGG16_LAYERS)}")
        for layer in self.style_layers:
            one_of("loss.style_layers", layer, VGG16_LAYERS)
        if len(set(self.style_layers)) < len(self.style_layers):
            raise UserError(f"loss.style_layers={self.style_layers} names a layer twice")
        at_least("loss.content_weight", self.content_weight, 0)
        at_least("loss.style_weight", self.style_weight, 0)
        if self.content_target is not None:
            at_least("loss.content_target", self.content_target, 0)
        at_least("loss.tv_weight", self.tv_weight, 0)
        at_least("loss.light_weight", self.light_weight, 0)
        at_least("loss.colour_weight", self.colour_weight, 0)
        at_least("loss.temporal_weight", self.temporal_weight, 0)
        at_least("loss.style_levels", self.style_levels, 1, 16)
        at_least("loss.style_tiles", self.style_tiles, 1, LARGEST_PX)
        at_least("loss.style_pictures", self.style_pictures, 1, 10_000)
        shares("loss.style_layer_weights", self.style_layer_weights, self.style_layers)


@dataclass
class MomentsLossConfig(LossConfig):
    """Mean and covariance of the style's features, and the content's structure: the default."""

    loss = "fst.losses.relative.MomentsLoss"
    mixes_styles = True

    name: str = "moments"
    style_layers: list[str] = field(default_factory=lambda: ["relu1_2", "relu2_2", "relu3_3"])
    style_weight: float = 10.0
    content_target: float | None = 1.0
    """Structure distance to aim at: 0.8 leaves a photograph with the style's colours and brush
    strokes, 1.0 is a painting of the scene, at 1.3 faces begin to dissolve; null keeps
    `style_weight`."""
    style_levels: int = 3
    style_pictures: int = 4
    tv_weight: float = 0.02
    light_weight: float = 1.0
    colour_weight: float = 1.0


@dataclass
class RelativeLossConfig(LossConfig):
    """Gram matrices and features relative to their targets: the weights fit every style."""

    loss = "fst.losses.relative.RelativeLoss"

    name: str = "relative"
    style_layers: list[str] = field(default_factory=lambda: ["relu1_2", "relu2_2", "relu3_3"])
    style_weight: float = 5.0
    style_levels: int = 3
    tv_weight: float = 0.02


@dataclass
class JohnsonLossConfig(LossConfig):
    """Johnson et al. 2016, section 3.2, with the weights of the official code."""

    loss = "fst.losses.papers.JohnsonLoss"
    of_vgg16_alone = True

    name: str = "johnson"
    style_layers: list[str] = field(
        default_factory=lambda: ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    )
    style_weight: float = 5.0
    tv_weight: float = 4e-6
    """Theirs is 1e-6 over the sum of a batch of 4; ours is over the mean."""


@dataclass
class GatysLossConfig(LossConfig):
    """Gatys et al. 2016, with their layers and one of their two ratios of weights."""

    loss = "fst.losses.papers.GatysLoss"
    of_vgg16_alone = True

    name: str = "gatys"
    content_layer: str = "relu4_2"
    style_layers: list[str] = field(
        default_factory=lambda: ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    )
    style_weight: float = 1e4
    tv_weight: float = 0.0


LOSSES: dict[str, type[LossConfig]] = {
    each.name: each
    for each in (MomentsLossConfig, RelativeLossConfig, GatysLossConfig, JohnsonLossConfig)
}
"""The losses' settings by name."""

TEMPORAL_PX = 32
"""Smallest training crop for the temporal term, whose second views are 16 px smaller."""


def compatible(loss: LossConfig, loss_network: LossNetworkConfig) -> None:
    """Raise UserError unless the loss network has the layers that the loss compares."""
    if loss.of_vgg16_alone and loss_network.name == "slim":
        raise UserError(
            f"loss={loss.name} compares at {max(loss.style_layers)} and divides by the number of "
            "VGG16's channels; loss_network=slim has neither: use loss=relative, or "
            "loss_network=vgg16"
        )
    for layer in (loss.content_layer, *loss.style_layers):
        if layer not in loss_network.layers:
            raise UserError(
                f"loss={loss.name} compares at {layer}, but loss_network={loss_network.name} has "
                f"only {', '.join(loss_network.layers)}: use those, or loss_network=vgg16"
            )


def large_enough(smallest_px: int, loss: LossConfig, larger: str) -> None:
    """Raise UserError if a picture's smallest pyramid level has no 2x2 features to reflect."""
    poolings = max(int(layer[4]) for layer in loss.style_layers) - 1  # reluB_C: block B
    if smallest_px >> (loss.style_levels - 1) < 2 ** (poolings + 1):
        raise UserError(
            f"loss.style_levels={loss.style_levels} halves pictures of {smallest_px} px to fewer "
            f"than VGG16's {poolings} poolings need: use fewer levels, or a larger {larger}"
        )
