"""Shrinking pictures by a whole factor, as the pictures that upscalers learn to enlarge are made.

Shapes: N pictures, C channels, H x W pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import DEGRADATIONS
from fst.errors import UserError

_BLUR_RADIUS = 4


class Downscale(nn.Module):
    """Antialiased bicubic downscaling, the values of `F.interpolate(..., antialias=True)`.

    Written as two convolutions, which every runtime of exported models computes. The kernel is
    chosen by `degradation` (`fst.config.DEGRADATIONS`).
    """

    kernel: Tensor

    def __init__(self, factor: int, degradation: str = "bicubic") -> None:
        super().__init__()
        self.factor = factor
        if degradation not in DEGRADATIONS:
            raise UserError(f"unknown degradation {degradation!r}")
        kernel = _bicubic(factor)
        if degradation == "johnson":
            blur = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1).square().double().mul(-0.5).exp()
            kernel = F.conv1d(kernel[None, None], blur[None, None], padding=2 * _BLUR_RADIUS)[0, 0]
        # Not persistent: the arguments of the network say what it is.
        self.register_buffer("kernel", (kernel / kernel.sum()).float(), persistent=False)

    @property
    def reach_px(self) -> int:
        """How far beyond its own block of pixels a pixel of the result looks."""
        return (len(self.kernel) - self.factor) // 2

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, C, H / factor, W / factor) for an image whose sides the factor divides."""
        kind = image.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            with torch.autocast(kind, enabled=False):  # bf16 would cost two levels of 255
                return self(image.float())  # type: ignore[no-any-return]
        channels = image.shape[1]
        # Pixels outside the picture do not count: a channel of ones says how much is inside.
        ones = image[:, :1] * 0 + 1
        planes = torch.cat([image, ones], 1)
        kernel = self.kernel.to(image.dtype).repeat(channels + 1, 1, 1)
        reach, factor = self.reach_px, self.factor
        planes = F.conv2d(
            planes, kernel[..., None], None, (factor, 1), (reach, 0), groups=channels + 1
        )
        planes = F.conv2d(
            planes, kernel[:, :, None], None, (1, factor), (0, reach), groups=channels + 1
        )
        return planes[:, :channels] / planes[:, channels:]


def _bicubic(factor: int) -> Tensor:
    """Return the taps of Keys' cubic (a = -0.5), stretched by the factor, around one block."""
    reach = math.ceil(1.5 * factor)
    taps = torch.arange(-reach, factor + reach, dtype=torch.float64)
    x = ((taps + 0.5 - factor / 2) / factor).abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
