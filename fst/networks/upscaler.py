"""Super-resolution networks: a small picture in, the same picture larger by a whole factor out.

Shapes: N pictures, 3 channels (sRGB in [0, 1]), H x W pixels.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import FastUpscalerConfig, JohnsonUpscalerConfig, UpscalerConfig
from fst.networks.downscale import Downscale


class Upscaler(nn.Module, ABC):
    """A network without statistics over the picture: its tiles are exact."""

    factor: int
    """How many times as wide and as high the result is."""
    margin_px: int
    """No pixel of the result depends on what is farther away than this in the small picture."""

    def __init__(self, settings: UpscalerConfig) -> None:
        super().__init__()
        self.settings = settings
        self.factor = settings.factor
        self.downscale = Downscale(settings.factor, settings.degradation)
        """How the small pictures were made that it was trained to enlarge."""

    @property
    def arguments(self) -> dict[str, Any]:
        """What the network was built with, as the model file keeps it."""
        return self.settings.arguments()

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return next(self.parameters()).dtype

    @abstractmethod
    def enlarge(self, image: Tensor) -> Tensor:
        """Return (N, 3, factor H, factor W), which may leave [0, 1], for (N, 3, H, W)."""

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge (N, 3, H, W) in [0, 1].

        The result is clamped to [0, 1], but not in training, where that would stop gradients. A
        network in half precision takes float32, and returns it.
        """
        result = self.enlarge(image)
        return result if self.training else result.clamp(0, 1)


class FastUpscaler(Upscaler):
    """The default: 3x3 convolutions at low resolution and one pixel shuffle (Shi et al. 2016).

    What they compute is added to the repeated pixels. The sum is corrected once towards a picture
    that, downscaled, is the input (back-projection, Irani & Peleg 1991), so that colours stay those
    of the input whatever the loss. No norms, which cost contrast (Lim et al. 2017).
    """

    def __init__(self, settings: FastUpscalerConfig) -> None:
        super().__init__(settings)
        factor, width, layers = settings.factor, settings.width, settings.layers
        steps: list[nn.Module] = []
        for inputs in [3, *[width] * layers]:
            steps += [nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        self.steps = nn.Sequential(*steps)
        self.head = nn.Conv2d(width, 3 * factor**2, 3, padding=1)
        # The correction of a pixel comes from its own block and the next ones (linear upsampling).
        self.margin_px = layers + 2 + 1 + -(-self.downscale.reach_px // factor)
        for module in self.steps:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, 0.1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        # It starts as the repeated pixels: all of a block alike (ICNR, Aitken et al. 2017).
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def enlarge(self, image: Tensor) -> Tensor:
        """Return (N, 3, factor H, factor W) for (N, 3, H, W)."""
        change = self.head(self.steps(image.to(self.dtype))).to(image.dtype)
        repeated = image.repeat_interleave(self.factor**2, 1)
        result = F.pixel_shuffle(change + repeated, self.factor)
        missing = image - self.downscale(result)
        return result + F.interpolate(missing, scale_factor=self.factor, mode="bilinear")


class JohnsonUpscaler(Upscaler):
    """Johnson et al. 2016, supplementary material, table 2."""

    def __init__(self, settings: JohnsonUpscalerConfig) -> None:
        super().__init__(settings)
        width, blocks = settings.width, settings.residual_blocks
        doublings = settings.factor.bit_length() - 1
        self.first = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(*(_Block(width) for _ in range(blocks)))
        self.rest = nn.Sequential(
            *(layer for _ in range(doublings) for layer in _doubling(width)),
            nn.Conv2d(width, 3, 9, padding=4),
        )
        self.margin_px = 4 + 2 * blocks + doublings + 4

    def enlarge(self, image: Tensor) -> Tensor:
        """Return (N, 3, factor H, factor W) for (N, 3, H, W)."""
        features = self.residual(self.first(image.to(self.dtype)))
        result: Tensor = self.rest(features).to(image.dtype)
        return (result.tanh() + 1) / 2


class _Block(nn.Module):
    """The paper's residual block: batch norm, and nothing after the sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.change(x)
        return x + change


def _doubling(width: int) -> list[nn.Module]:
    return [
        nn.Upsample(scale_factor=2),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
