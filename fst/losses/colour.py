"""The colour term: the colours of a result's large areas follow from the photograph's.

Light alone leaves it open which paint of the same lightness goes where, and the paint then changes
from patch to patch. Here the colour of each large area is to be an affine function of the
photograph's colour there, the same function over the whole picture: any palette is free, and things
of one colour stay of one colour. No loss network is needed.

Shapes: N pictures of H x W pixels, P areas.
"""

import torch
from torch import Tensor

from fst.losses.light import CONTRAST, average_areas
from fst.losses.statistics import at_least_fp32
from fst.losses.terms import Term

AREA_PX = 8
"""Side of the cells whose colour is averaged, and then once more over 3x3 of them."""
SMALLEST_DEVIATION = 0.01
"""Of the photograph's colours along an axis, below which the result's need not follow it."""


class Colour(Term):
    """The share of the variance of a result's colours that the photograph's do not explain.

    It is 1 - R^2 of a linear regression, all channels together.
    """

    name = "colour"

    def target(self, photograph: Tensor) -> Tensor:
        """Return orthogonal directions that span the photograph's colours, (N, P, 3)."""
        with torch.autocast(photograph.device.type, enabled=False):
            return _orthogonalise(_centred_areas(photograph))

    def __call__(self, stylized: Tensor, target: Tensor) -> Tensor:
        """Return (N,), from 0 (an affine function of the photograph's colours) to 1."""
        with torch.autocast(stylized.device.type, enabled=False):
            areas = _centred_areas(stylized)
            unexplained = areas - target @ (target.mT @ areas)
            variance, least = (each.square().sum((1, 2)) for each in (areas, unexplained))
            return least / (variance + areas.shape[1] * CONTRAST**2)


def _centred_areas(image: Tensor) -> Tensor:
    """Return the colours of the large areas of (N, 3, H, W), less their mean, (N, P, 3)."""
    areas = average_areas(at_least_fp32(image), AREA_PX).mT
    return areas - areas.mean(1, keepdim=True)


def _orthogonalise(areas: Tensor) -> Tensor:
    """Return the areas' colours (N, P, 3) by Gram-Schmidt; directions without extent fade to 0."""
    least = areas.shape[1] * SMALLEST_DEVIATION**2
    red, green, blue = areas.unbind(2)
    directions: list[Tensor] = []
    for axis in (red + green + blue, red - blue, green):
        for direction in directions:
            axis = axis - (direction * axis).sum(1, keepdim=True) * direction
        directions.append(axis / (axis.square().sum(1, keepdim=True) + least).sqrt())
    return torch.stack(directions, 2)
