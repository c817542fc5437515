"""Picture quality: how close the style, what is left of the content, and of light and dark.

>>> network = load_loss_network(Vgg16Config(), LAYERS)
>>> measure_quality(network, contents, stylizer(contents), style)

The figures do not depend on the loss that a model was trained by, so models of different recipes
can be compared. Distances are under VGG16, relative to the size of their target: 0 is a perfect
match. They say nothing of where the paint goes; `light` does.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from fst.losses.statistics import (
    BLANK,
    gram_matrix,
    moments,
    relative_distance,
    sliced_wasserstein,
    standardise,
)
from fst.pictures.image import luminance, resize

LAYERS = ("relu1_2", "relu2_2", "relu3_3")
"""VGG16 layers at which the style is compared; the figures are their mean."""
CONTENT_LAYER = "relu3_3"
"""VGG16 layer at which content and structure are compared."""
LIGHT_PX = 96
"""Shorter side at which light is compared."""
LIGHT_BLUR = 1 / 24
"""Standard deviation of the blur, as a share of the shorter side: wider than a stroke."""


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
    light: float
    """Correlation of the blurred luminances of y and x, from -1 to 1: at 1 the large areas are as
    light and dark as in the photograph, at 0 the paint lies evenly over figure and ground."""


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
        _quality_of(
            network(x, [CONTENT_LAYER]), network(y, LAYERS), style_features, light_kept(x, y)
        )
        for x, y in zip(torch.split(contents, 1), torch.split(stylized, 1), strict=True)
    ]
    columns = zip(*(asdict(quality).values() for quality in each), strict=True)
    return Quality(*(sum(column) / len(each) for column in columns))


def covariance_matrix(features: Tensor) -> Tensor:
    """Return the channels' covariances (N, C, C) over the pixels of (N, C, H, W)."""
    return moments(features)[..., :-1]


def light_kept(content: Tensor, stylized: Tensor) -> float:
    """Return the correlation of the blurred luminances of two pictures (1, 3, H, W).

    It is 1 where the content is of one luminance, which asks for nothing.
    """
    x, y = (_large_areas(each) for each in (content, stylized))
    if x.square().mean() < 1e-6:
        return 1.0
    scale = (x.square().sum() * y.square().sum()).sqrt().clamp_min(1e-12)
    return float((x * y).sum() / scale)


def _large_areas(image: Tensor) -> Tensor:
    """Return the blurred luminance of (1, 3, H, W), its mean taken out."""
    small = resize(luminance(image), LIGHT_PX)
    sigma = LIGHT_BLUR * LIGHT_PX
    blurred: Tensor = gaussian_blur(small, [2 * round(3 * sigma) + 1] * 2, [sigma, sigma])
    return blurred - blurred.mean()


def _quality_of(
    content: dict[str, Tensor], stylized: dict[str, Tensor], style: dict[str, Tensor], light: float
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
        structure=float(relative_distance(standardise(y), standardise(x), BLANK)),
        light=light,
    )
