"""The transformer networks: a picture in, the same picture in the style out, in one pass.

Shapes: N pictures, 3 channels (sRGB in [0, 1]), H x W pixels.
"""

import copy
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
        if self.statistics is None:
            return self._of_one(x) if len(x) == 1 else self._of_several(x)
        wide = x.float() if x.dtype.itemsize < 4 else x
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        mean, variance = self.statistics(wide)
        return F.batch_norm(wide, mean, variance, weight, bias, eps=self.eps).to(x.dtype)

    # torch's own instance norm leaves channels_last and comes back: on a CPU ten times slower than
    # these, which sum in fp32 whatever x is.

    def _of_one(self, x: Tensor) -> Tensor:
        """With one picture, its statistics are the batch's."""
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)

    def _of_several(self, x: Tensor) -> Tensor:
        """One channel a group, centred first: squares of large means would cost all precision."""
        centred = x - x.detach().mean((2, 3), keepdim=True)
        return F.group_norm(centred, self.num_features, self.weight, self.bias, self.eps)


NORMS: dict[str, type[nn.Module]] = {"instance": InstanceNorm, "batch": nn.BatchNorm2d}


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with reflection padding, which leaves no dark border."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect")


class OutputConvolution(nn.Conv2d):
    """A convolution to three channels, of a picture whose height and width are even.

    Computed with stride 2, each step giving a block of 2x2 pixels: the same values, and the twelve
    channels fill the vector units that three leave idle (three times faster on a CPU).
    """

    def __init__(self, inputs: int, kernel: int) -> None:
        super().__init__(inputs, 3, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 3, H, W) for x of (N, inputs, H, W), padded by reflection."""
        places = [(y, 1 - y, z, 1 - z) for z in (0, 1) for y in (0, 1)]
        weight = torch.stack([F.pad(self.weight, place) for place in places], 1).flatten(0, 1)
        bias = None if self.bias is None else self.bias.repeat_interleave(4)
        image = F.pad(x, [self.kernel_size[0] // 2] * 4, mode="reflect")
        return F.pixel_shuffle(F.conv2d(image, weight, bias, stride=2), 2)


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
            OutputConvolution(width, 9), OUTPUTS[output](),
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
            UpsampleNearest(width, half), InstanceNorm(half), nn.ReLU(inplace=True),
            UpsampleNearest(half, full), nn.ReLU(inplace=True),
            convolution(full, 3, 3), ScaledTanh(),
        )  # fmt: skip

    def units(self) -> list[nn.Module]:
        """Return the stem, each residual block, the head."""
        return [self.stem, *self.residual, self.head]


class UpsampleNearest(nn.Sequential):
    """Nearest upsampling to twice the size and a 3x3 convolution (Odena et al. 2016).

    Computed as one 4x4 transposed convolution of stride 2, whose taps are sums of the 3x3 ones:
    the same values, with 16 multiplications where there were 36 and nothing upsampled in memory.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), convolution(inputs, outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, 2 H, 2 W) for x of (N, inputs, H, W)."""
        plain = self[1]
        assert isinstance(plain, nn.Conv2d)
        # Row t: which of the 3 taps meet in tap t. An output of even index sees its own source
        # pixel by two taps and the one before by one, of odd index its own by two and the next.
        meet = x.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        weight = torch.einsum("oiyx,ty,sx->iots", plain.weight, meet, meet)
        # A reflection by one pixel of what is twice the size repeats the border of what is not.
        return F.conv_transpose2d(
            F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, plain.bias, 2, padding=3
        )


def upsample_transposed(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Return the paper's 3x3 convolution of stride 1/2."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


UPSAMPLINGS = {"nearest": UpsampleNearest, "transposed": upsample_transposed}
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


def plain(network: TransformerNetwork) -> TransformerNetwork:
    """Return a copy that computes each step as it is written in the papers.

    It has the same weights and gives the same pictures. Other runtimes know its operations well and
    optimise them in their own way; and it is what the speed of ours is measured against.
    """
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if type(module) in _PLAIN:
                setattr(parent, name, _PLAIN[type(module)](module))
    return network


def _plain_norm(norm: InstanceNorm) -> nn.Module:
    twin = nn.InstanceNorm2d(norm.num_features, norm.eps, affine=True)
    twin.weight, twin.bias = norm.weight, norm.bias
    return twin.train(norm.training)


def _plain_output(output: OutputConvolution) -> nn.Module:
    twin = convolution(output.in_channels, 3, output.kernel_size[0])
    twin.weight, twin.bias = output.weight, output.bias
    return twin


_PLAIN: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    InstanceNorm: _plain_norm,
    OutputConvolution: _plain_output,
    UpsampleNearest: lambda upsample: nn.Sequential(*upsample),
}


def count_parameters(network: nn.Module) -> int:
    """Return the number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: TransformerNetwork, height: int, width: int) -> int:
    """Return the floating-point operations of one picture's pass: 2 a multiply-add, convolutions.

    They are those of the network as it is written (`plain`), whatever is saved in computing it.
    Nothing is computed: the network is run on shapes alone.
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, and seldom needed

    with torch.device("meta"):
        shapes = plain(NETWORKS[network_name(network)](**network.arguments))
        image = torch.empty(1, 3, height, width)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        shapes(image)
    return counter.get_total_flops()


def network_name(network: TransformerNetwork) -> str:
    """Return the name of the network in `NETWORKS`."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)
