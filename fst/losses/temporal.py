"""The temporal term: the stylization of a moved photograph must be the moved stylization.

It needs no video and no optical flow: the second view is made from the photograph itself, as in
Wang et al. 2020, "Consistent video style transfer via relaxation and regularization" (ReReVST),
so its motion is known exactly. It costs one more pass of the network and none of the loss network.

Shapes: N pictures, C channels, H x W pixels; a second view has H' = H - MARGIN_PX rows and
W' = W - MARGIN_PX columns, all of which the first view has too.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.streams import Stream

SHIFT_PX = 10
"""Whole-pixel shifts: second views differ by up to this many pixels in each direction."""
FLOW_PX = 3.0
"""Largest displacement of the smooth warp, in each direction."""
NOISE = 0.02
"""Largest standard deviation of the sensor noise."""
EXPOSURE = 0.1
"""Largest change of the exposure, as a share."""
OBJECT = 0.5
"""Largest height and width of what passes in front of the picture, as shares of its own."""
MARGIN_PX = 16
"""Rows and columns that a second view lacks: `SHIFT_PX`, and `FLOW_PX` on both sides."""
_CELL_PX = 64
_HALO_PX = 8  # around an object, where strokes follow its edge


@dataclass(frozen=True)
class SecondView:
    """Where a second view is taken from: a whole-pixel shift, and a warp on top of it."""

    top: int
    left: int
    flow: Tensor | None = None
    """(2, H', W'): rows and columns from each pixel of the second view to its source; None: an
    exact crop."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return (C, H', W'), moved, for an image (C, H, W)."""
        height, width = (px - MARGIN_PX for px in image.shape[-2:])
        if self.flow is None:
            return image[:, self.top : self.top + height, self.left : self.left + width]
        rows, columns = self.flow.unbind()
        rows = rows + torch.arange(height, device=rows.device)[:, None] + self.top
        columns = columns + torch.arange(width, device=rows.device) + self.left
        last_row, last_column = (px - 1 for px in image.shape[-2:])
        grid = torch.stack([2 * columns / last_column - 1, 2 * rows / last_row - 1], -1)
        # Bicubic: bilinear interpolation would blur the target, and teach the network to blur.
        return F.grid_sample(image[None], grid[None], "bicubic", "border", align_corners=True)[0]


def temporal_term(
    network: Callable[[Tensor], Tensor],
    content: Tensor,
    stylized: Tensor,
    seed: int,
    position: int,
) -> Tensor:
    """Return a scalar: the mean absolute difference of the second views' stylization and target.

    Args:
        network: stylizes (N, 3, H', W').
        content: (N, 3, H, W) in [0, 1]; H and W exceed `MARGIN_PX`.
        stylized: its stylization, of the same shape.
        seed: the run's.
        position: the first picture's position in the data. With the seed it determines the second
            views, whatever the batch size and whenever the run was resumed.
    """
    views, targets, backgrounds = [], [], []
    for index, (photograph, result) in enumerate(zip(content, stylized, strict=True)):
        random = Stream.SECOND_VIEW.random(seed, position + index)
        motion = random_motion(random, photograph)
        view, background = with_object(motion(photograph), random)
        views.append(record(view, random))
        targets.append(motion(result.float()))
        backgrounds.append(background)
    error = (network(torch.stack(views)).float() - torch.stack(targets)).abs().mean(1)
    background = torch.stack(backgrounds)
    return ((error * background).sum((1, 2)) / background.sum((1, 2))).mean()


def random_motion(random: np.random.Generator, image: Tensor) -> SecondView:
    """Draw a motion for an image (C, H, W)."""
    slack = (MARGIN_PX - SHIFT_PX) // 2
    top, left = (int(shift) + slack for shift in random.integers(0, SHIFT_PX + 1, 2))
    if not FLOW_PX:
        return SecondView(top, left)
    height, width = (px - MARGIN_PX for px in image.shape[-2:])
    corners = height // _CELL_PX + 2, width // _CELL_PX + 2
    cells = torch.from_numpy(random.uniform(-FLOW_PX, FLOW_PX, (1, 2, *corners))).to(image)
    flow = F.interpolate(cells, (height, width), mode="bicubic", align_corners=True)
    return SecondView(top, left, flow[0].clamp(-FLOW_PX, FLOW_PX))


def with_object(image: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return an image (C, H, W) with a piece of itself, mirrored, in front of another piece.

    What moves in a video must not change the strokes of the background, neither around it nor, by
    the statistics of instance norm, everywhere.

    Returns:
        The image, and its background: (H, W), 0 at the object and near it, else 1.
    """
    background = torch.ones_like(image[0])
    if not OBJECT:
        return image, background
    sizes = [int(px * random.uniform(0.1, OBJECT)) for px in image.shape[-2:]]
    free = [px - size + 1 for px, size in zip(image.shape[-2:], sizes, strict=True)]
    (row, column), (top, left) = random.integers(0, free, (2, 2)).tolist()
    piece = image[:, row : row + sizes[0], column : column + sizes[1]]
    image = image.clone()
    image[:, top : top + sizes[0], left : left + sizes[1]] = piece.flip(2)
    halo = min(_HALO_PX, min(background.shape) // 8)  # small views keep some background
    rows, columns = (
        slice(max(0, start - halo), start + size + halo)
        for start, size in zip((top, left), sizes, strict=True)
    )
    background[rows, columns] = 0
    return image, background


def record(image: Tensor, random: np.random.Generator) -> Tensor:
    """Return an image in [0, 1] as another exposure records it, with sensor noise."""
    gain = 1 + random.uniform(-EXPOSURE, EXPOSURE)
    noise = random.standard_normal(image.shape, np.float32) * random.uniform(0, NOISE)
    return (image * gain + torch.from_numpy(noise).to(image)).clamp(0, 1)
