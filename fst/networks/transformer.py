"""What every transformer network is: a picture in, the same picture in the style out, in one pass.

Shapes: N pictures, 3 channels (sRGB in [0, 1]), H x W pixels.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import NetworkConfig


class TransformerNetwork(nn.Module, ABC):
    """Any input size from 1x1 up gives exactly that size: `forward` pads, runs `body` and crops."""

    stride: int = 4
    """`body` takes heights and widths that are multiples of this ..."""
    min_px: int = 12
    """... and at least this, a multiple too, for the reflections to fit."""
    scale: int = 4
    """Pixels of the picture, in each direction, to one position between the units."""
    margin_px: int = 8
    """No unit's convolutions see farther than this many pixels of its input."""

    def __init__(self, settings: NetworkConfig) -> None:
        super().__init__()
        self.settings = settings

    @property
    def arguments(self) -> dict[str, Any]:
        """What the network was built with, as the model file keeps it."""
        return self.settings.arguments()

    def steps(self) -> list[nn.Module]:
        """Return the steps of `body`: the units, several of which may be joined to one."""
        return self.units()

    @abstractmethod
    def units(self) -> list[nn.Module]:
        """Return the steps of `body`, each from one tensor (N, C, H, W) to one.

        Tiles rely on this contract: the first unit divides the resolution by `scale`, the last
        one multiplies it, those between keep it. A unit's instance norms run in the order in
        which `modules()` lists them, and each sees its input at a whole fraction of the unit's
        resolution. A unit never changes its input in place. The last one ends in a convolution with
        a bias to three channels and `ScaledTanh` or `Clamp`, which palettes rely on.
        """

    def body(self, image: Tensor) -> Tensor:
        """Stylize (N, 3, H, W) of a size that `stride` and `min_px` allow."""
        for step in self.steps():
            image = step(image)
        return image

    def padded_px(self, px: int) -> int:
        """Return the smallest length of at least `px` that `stride` and `min_px` allow."""
        return max(self.min_px, -(-px // self.stride) * self.stride)

    def forward(self, image: Tensor) -> Tensor:
        """Stylize (N, 3, H, W) in [0, 1]; the result has the same shape and range."""
        height, width = image.shape[-2:]
        missing = [self.padded_px(px) - px for px in (height, width)]
        if any(missing):
            image = F.pad(image, (0, missing[1], 0, missing[0]), mode="replicate")
        return self.body(image)[..., :height, :width]
