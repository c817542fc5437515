"""The transformer networks: a picture in, the same picture in the style out, in one pass.

Shapes: N pictures, 3 channels (sRGB in [0, 1]), H x W pixels.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al. 2016), its statistics in fp32 under autocast."""

    statistics: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    """Given x, what to take for means and variances, each (C,), instead of those of x."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over H and W."""
        wide = x.float() if x.dtype.itemsize < 4 else x
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        if self.statistics is None:
            return F.instance_norm(wide, weight=weight, bias=bias, eps=self.eps).to(x.dtype)
        mean, variance = self.statistics(wide)
        return F.batch_norm(wide, mean, variance, weight, bias, eps=self.eps).to(x.dtype)


NORMS: dict[str, type[nn.Module]] = {"instance": InstanceNorm, "batch": nn.BatchNorm2d}


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with reflection padding, which leaves no dark border."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect")


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity, nothing after the sum (Gross & Wilber 2016)."""

    def __init__(self, channels: int, norm: type[nn.Module] = InstanceNorm) -> None:
        super().__init__()
        self.conv1 = convolution(channels, channels, 3)
        self.norm1 = norm(channels)
        self.conv2 = convolution(channels, channels, 3)
        self.norm2 = norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its residual, both (N, C, H, W)."""
        residual = F.relu(self.norm1(self.conv1(x)), inplace=True)
        change: Tensor = self.norm2(self.conv2(residual))
        return x + change


class ScaledTanh(nn.Module):
    """The paper's output: any value is mapped into [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (tanh(x) + 1) / 2."""
        return (torch.tanh(x) + 1) / 2


class Clamp(nn.Module):
    """Cuts what lies outside [0, 1], as is done with the output of networks trained without."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, cut."""
        return x.clamp(0, 1)


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


class Johnson(TransformerNetwork):
    """The network of Johnson et al. 2016 (supplementary material, table 1).

    With `norm="batch", upsample="transposed"` it is the paper's, but for two things its authors'
    code has as well: reflection padding instead of zeros, and in the residual blocks instead of
    around the picture. The defaults take instance norm (Ulyanov et al. 2016) and nearest
    upsampling with a convolution, which leaves no checkerboard (Odena et al. 2016).
    """

    def __init__(
        self,
        width: int = 32,
        residual_blocks: int = 5,
        norm: str = "instance",
        upsample: str = "nearest",
        output: str = "tanh",
    ) -> None:
        super().__init__(
            width=width,
            residual_blocks=residual_blocks,
            norm=norm,
            upsample=upsample,
            output=output,
        )
        normalise = NORMS[norm]
        up = UPSAMPLINGS[upsample]
        self.down = nn.Sequential(
            convolution(3, width, 9), normalise(width), nn.ReLU(inplace=True),
            convolution(width, 2 * width, 3, stride=2), normalise(2 * width), nn.ReLU(inplace=True),
            convolution(2 * width, 4 * width, 3, stride=2), normalise(4 * width),
            nn.ReLU(inplace=True),
        )  # fmt: skip
        self.residual = nn.Sequential(
            *(ResidualBlock(4 * width, normalise) for _ in range(residual_blocks))
        )
        self.up = nn.Sequential(
            up(4 * width, 2 * width), normalise(2 * width), nn.ReLU(inplace=True),
            up(2 * width, width), normalise(width), nn.ReLU(inplace=True),
            convolution(width, 3, 9), OUTPUTS[output](),
        )  # fmt: skip

    def units(self) -> list[nn.Module]:
        """Return the way down, each residual block, the way up."""
        return [self.down, *self.residual, self.up]


class Fast(TransformerNetwork):
    """Our own: all the work at quarter resolution.

    A space-to-depth stem folds each 4x4 patch into 48 channels, residual blocks work on those, and
    two steps of nearest upsampling and convolution lead back. A pixel-shuffle head would be
    cheaper still but leaves a 4-px grid.
    """

    def __init__(self, width: int = 40, residual_blocks: int = 4) -> None:
        super().__init__(width=width, residual_blocks=residual_blocks)
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(4), convolution(48, width, 3), InstanceNorm(width), nn.ReLU()
        )
        self.residual = nn.Sequential(*(ResidualBlock(width) for _ in range(residual_blocks)))
        half, full = width // 2, width // 5
        self.head = nn.Sequential(
            upsample_nearest(width, half), InstanceNorm(half), nn.ReLU(inplace=True),
            upsample_nearest(half, full), nn.ReLU(inplace=True),
            convolution(full, 3, 3), ScaledTanh(),
        )  # fmt: skip

    def units(self) -> list[nn.Module]:
        """Return the stem, each residual block, the head."""
        return [self.stem, *self.residual, self.head]


def upsample_nearest(inputs: int, outputs: int) -> nn.Sequential:
    """Return nearest upsampling to twice the size and a 3x3 convolution (Odena et al. 2016)."""
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution(inputs, outputs, 3))


def upsample_transposed(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Return the paper's 3x3 convolution of stride 1/2."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


UPSAMPLINGS = {"nearest": upsample_nearest, "transposed": upsample_transposed}
OUTPUTS: dict[str, type[nn.Module]] = {"tanh": ScaledTanh, "clamp": Clamp}
NETWORKS: dict[str, type[TransformerNetwork]] = {"johnson": Johnson, "fast": Fast}
"""The networks by the name that the configuration and the model file give."""


def build_network(name: str, arguments: dict[str, Any]) -> TransformerNetwork:
    """Return a new network.

    Raises:
        ValueError: there is no such network, or it takes no such arguments.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, KeyError) as error:
        raise ValueError(f"network {name!r} can't be built with {arguments}: {error}") from error


def count_parameters(network: nn.Module) -> int:
    """Return the number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: TransformerNetwork, height: int, width: int) -> int:
    """Return the floating-point operations of one picture's pass: 2 a multiply-add, convolutions.

    Nothing is computed: the network is run on shapes alone.
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, and seldom needed

    with torch.device("meta"):
        shapes = NETWORKS[network_name(network)](**network.arguments)
        image = torch.empty(1, 3, height, width)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shapes(image)
    return counter.get_total_flops()


def network_name(network: TransformerNetwork) -> str:
    """Return the name of the network in `NETWORKS`."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)
