"""What every transformer network is: a picture in, the same picture in the style out, in one pass.

Shapes: N pictures, 3 channels (sRGB in [0, 1]), H x W pixels.
"""

from abc import abstractmethod
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class TransformerNetwork(nn.Module):
    """Any input size from 1x1 up gives exactly that size: `forward` pads, runs `body` and crops."""

    STRIDE = 4
    """`body` takes heights and widths that are multiples of this ..."""
    MIN_PX = 12
    """... and at least this, for the reflections to fit."""
    MARGIN_PX = 8
    """No unit sees farther than so many pixels of its input, instance norm aside."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = arguments
        """What the network was built with, as the model file keeps it."""

    @abstractmethod
    def units(self) -> list[nn.Module]:
        """Return what the picture goes through, one after the other."""

    def body(self, image: Tensor) -> Tensor:
        """Stylize (N, 3, H, W) of a size that `STRIDE` and `MIN_PX` allow."""
        for unit in self.units():
            image = unit(image)
        return image

    def padded_px(self, px: int) -> int:
        """Return the smallest length of at least `px` that `STRIDE` and `MIN_PX` allow."""
        return max(self.MIN_PX, -(-px // self.STRIDE) * self.STRIDE)

    def forward(self, image: Tensor) -> Tensor:
        """Stylize (N, 3, H, W) in [0, 1]; the result has the same shape and range."""
        height, width = image.shape[-2:]
        missing = [self.padded_px(px) - px for px in (height, width)]
        if any(missing):
            image = F.pad(image, (0, missing[1], 0, missing[0]), mode="replicate")
        return self.body(image)[..., :height, :width]
