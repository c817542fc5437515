"""The light term: large areas of a result are as light and as dark as in the photograph.

Statistics of features say which paint there is, not where it goes: with nothing else it covers sky,
face and helmet alike. Luminance is compared in areas wider than a stroke, so texture is free, and
standardised, so the result keeps the painting's contrast. No loss network is needed.

Shapes: N pictures of H x W pixels, P areas.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.losses.statistics import at_least_fp32, squared_distance
from fst.losses.terms import Term
from fst.pictures.image import luminance

CELLS_PX = (8, 16)
"""Sides of the cells whose luminance is averaged, and then once more over 3x3 of them."""
CONTRAST = 0.02
"""Added to the standard deviation: large areas that differ by less ask for little."""


class Light(Term):
    """How much lighter or darker the large areas of a result are than the photograph's."""

    name = "light"

    def target(self, photograph: Tensor) -> Tensor:
        """Return the photograph's large areas."""
        return large_areas(photograph)

    def __call__(self, stylized: Tensor, target: Tensor) -> Tensor:
        """Return (N,), from 0 (alike) over 2 (unrelated) to 4."""
        return squared_distance(large_areas(stylized), target)


def large_areas(image: Tensor) -> Tensor:
    """Return the luminance of the large areas of (N, 3, H, W) in [0, 1] as (N, P).

    For each size of cells it has mean 0 and variance 1; it is scaled so that the squared distance
    of two pictures is the mean squared difference, from 0 (alike) over 2 (unrelated) to 4.
    """
    with torch.autocast(image.device.type, enabled=False):
        grey = luminance(at_least_fp32(image))
        areas = (average_areas(grey, px).flatten(1) for px in CELLS_PX)
        return torch.cat([_standardise(each) for each in areas], 1)


def average_areas(image: Tensor, cell_px: int) -> Tensor:
    """Return the mean around each cell of (N, C, H, W), (N, C, P)."""
    cells = F.avg_pool2d(image, min(cell_px, *image.shape[-2:]))
    return F.avg_pool2d(cells, 3, stride=1, padding=1, count_include_pad=False).flatten(2)


def _standardise(values: Tensor) -> Tensor:
    centred = values - values.mean(1, keepdim=True)
    # Not `std`: at a picture without contrast its gradient is infinite.
    deviation = (centred.square().mean(1, keepdim=True) + 1e-8).sqrt()
    scale = (values.shape[1] * len(CELLS_PX)) ** 0.5
    standardised: Tensor = centred / (deviation + CONTRAST) / scale
    return standardised
