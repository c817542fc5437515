"""Picture quality in the features of VGG16: how close the style, and what is left of the content.

>>> network = load_loss_network(Vgg16Config(), LAYERS)
>>> measure_quality(network, contents, stylizer(contents), style)

The figures do not depend on the loss that a model was trained by, so models of different recipes
can be compared. All are relative to the size of their target: 0 is a perfect match.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from fst.losses.statistics import (
    BLANK,
    gram_matrix,
    moments,
    relative_distance,
    sliced_wasserstein,
    standardised,
)

LAYERS = ("relu1_2", "relu2_2", "relu3_3")
"""VGG16 layers at which the style is compared; the figures are their mean."""
CONTENT_LAYER = "relu3_3"
"""VGG16 layer at which content and structure are compared."""


class FeatureNetwork(Protocol):
    """Anything that returns features (N, C, H, W) by layer name, such as VGG16."""

    def __call__(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the features of (N, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Quality:
    """Distances of stylized pictures y to their contents x and to the style s; means."""

    gram: float
    """|G(y) - G(s)|^2 / |G(s)|^2 of the Gram matrices (Gatys et al. 2016)."""
    covariance: float
    """The same of the covariance matrices, which the features' means do not enter."""
    wasserstein: float
    """Sliced Wasserstein distance of the features; see `sliced_wasserstein`."""
    content: float
    """|F(y) - F(x)|^2 / |F(x)|^2."""
    structure: float
    """The same after instance normalisation of both, which takes out palette and contrast; 0 for a
    blank picture."""


@torch.no_grad()
def measure_quality(
    network: FeatureNetwork, contents: Tensor, stylized: Tensor, style: Tensor
) -> Quality:
    """Return the quality of stylized pictures, averaged over them; they are measured one by one.

    Args:
        network: VGG16 with at least `LAYERS`.
        contents: (N, 3, H, W) in [0, 1].
        stylized: what was made of them, of the same shape.
        style: (1, 3, H', W') in [0, 1]; its size in pixels decides how large its strokes are.
    """
    style_features = network(style, LAYERS)
    each = [
        _quality_of(network(x, [CONTENT_LAYER]), network(y, LAYERS), style_features)
        for x, y in zip(torch.split(contents, 1), torch.split(stylized, 1), strict=True)
    ]
    columns = zip(*(asdict(quality).values() for quality in each), strict=True)
    return Quality(*(sum(column) / len(each) for column in columns))


def covariance_matrix(features: Tensor) -> Tensor:
    """Return the channels' covariances (N, C, C) over the pixels of (N, C, H, W)."""
    return moments(features)[..., :-1]


def _quality_of(
    content: dict[str, Tensor], stylized: dict[str, Tensor], style: dict[str, Tensor]
) -> Quality:
    """Return the quality of one picture, from its features."""
    pairs = [(stylized[layer], style[layer]) for layer in LAYERS]
    x, y = content[CONTENT_LAYER], stylized[CONTENT_LAYER]

    def mean(distances: list[Tensor]) -> float:
        return float(torch.stack(distances).mean())

    return Quality(
        gram=mean([relative_distance(gram_matrix(a), gram_matrix(b)) for a, b in pairs]),
        covariance=mean(
            [relative_distance(covariance_matrix(a), covariance_matrix(b)) for a, b in pairs]
        ),
        wasserstein=mean([sliced_wasserstein(a, b) for a, b in pairs]),
        content=float(relative_distance(y, x)),
        structure=float(relative_distance(standardised(y), standardised(x), BLANK)),
    )
