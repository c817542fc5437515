"""Drawn stand-ins for photographs: dead leaves, shapes that lie over one another.

Occlusion, edges, flat areas and sizes whose density falls with the third power give them much of
the statistics of photographs: Lee, Mumford and Huang 2001, "Occlusion models for natural images".
"""

import math

import numpy as np
import torch
from torch import Tensor

from fst.networks.palette import make_pink

_LEAVES = 200
_RADII = (1 / 40, 0.6)
"""Smallest and largest radius of a leaf, as a share of the picture's side."""
_RECTANGLES = 0.4
"""Share of the leaves that are rectangles; the others are ellipses."""


def draw_leaves(number: int, side: int) -> Tensor:
    """Return a drawn picture, (1, 3, `side`, `side`) in [0, 1], the same for each number."""
    random = np.random.default_rng(number)
    white = torch.from_numpy(random.standard_normal((2, 3, side, side)))
    colours, grain = make_pink(white).numpy()
    colours = 0.45 + 0.3 * colours.reshape(3, -1)[:, random.integers(side**2, size=_LEAVES + 1)]
    picture = np.empty((3, side, side))
    picture[:] = colours[:, -1, None, None]
    smallest, largest = (side * share for share in _RADII)
    for colour in colours.T[:-1]:
        tail = random.uniform(largest**-2, smallest**-2)
        _lay(picture, colour, radius=tail**-0.5, random=random)
    picture += random.uniform(0.01, 0.06) * grain
    return torch.from_numpy(picture).float().clamp(0, 1)[None]


def _lay(
    picture: np.ndarray, colour: np.ndarray, radius: float, random: np.random.Generator
) -> None:
    """Draw a leaf over a picture (3, S, S): turned, flattened and shaded at random."""
    side = picture.shape[-1]
    x, y = random.uniform(0, side, 2)
    reach = 1.5 * radius  # of a rectangle's corners
    rows, columns = (slice(max(0, int(at - reach)), int(at + reach) + 1) for at in (y, x))
    within = picture[:, rows, columns]
    down, right = np.indices(within.shape[1:], dtype=float)
    down, right = down + rows.start - y, right + columns.start - x
    angle = random.uniform(0, math.pi)
    along = right * math.cos(angle) + down * math.sin(angle)
    across = (down * math.cos(angle) - right * math.sin(angle)) / random.uniform(0.3, 1)
    is_rectangle = random.random() < _RECTANGLES
    distance = np.maximum(abs(along), abs(across)) if is_rectangle else np.hypot(along, across)
    shade = 0.1 / radius * (right * random.normal() + down * random.normal())
    leaf = distance < radius
    within[:, leaf] = colour[:, None] + shade[leaf]
