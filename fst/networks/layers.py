"""The layers that the transformer networks are made of.

Shapes: N pictures, C channels, H x W pixels.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLAT = 1 / 128
"""A channel is flat if its variance is below this share of epsilon: a tenth of one level of 255.
Half precision cannot tell less from none, and photographs have ten thousand times as much."""


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al. 2016), its statistics in fp32 under autocast.

    Where its scales and shifts are (N, C) instead of (C,), each picture has its own: conditional
    instance normalisation (Dumoulin et al. 2017), see `fst.networks.styled`.
    """

    statistics: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    """Given x, what to take for means and variances, each (C,), instead of those of x."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over H and W; a flat channel becomes its shift.

        Divided by the root of epsilon, layer after layer, a flat channel's rounding errors would
        become a picture, and its gradient infinite.
        """
        if self.statistics is None:
            return self._of_one(x) if len(x) == 1 else self._of_several(x)
        wide = x.float() if x.dtype.itemsize < 4 else x
        weight, bias = self.weight.to(wide.dtype), self.bias.to(wide.dtype)
        mean, variance = self.statistics(wide)
        weight = weight * (variance > FLAT * self.eps)
        return F.batch_norm(wide, mean, variance, weight, bias, eps=self.eps).to(x.dtype)

    # torch's own instance norm leaves channels_last and comes back: on a CPU ten times slower than
    # these, which sum in fp32 whatever x is, and return the inverse deviations as well.

    def _of_one(self, x: Tensor) -> Tensor:
        """With one picture, its statistics are the batch's."""
        weight, bias = self.weight.view(-1), self.bias.view(-1)
        y, _, inverse = torch.native_batch_norm(x, weight, bias, None, None, True, 0, self.eps)
        flat = self._is_flat(inverse)[None]
        if _is_eager_on_cpu(x):
            # There sums are rounded in one direction where all summands are equal: the mean of a
            # constant channel is 1% off after a million pixels. An infinite one stays an error.
            flat |= _is_constant(x) & inverse.isfinite()
        return _flatten(y, flat, bias[None])

    def _of_several(self, x: Tensor) -> Tensor:
        """One channel per group, centred first: squares of large means would cost all precision."""
        centred = x - x.detach().mean((2, 3), keepdim=True)
        shared = self.weight.ndim == 1
        weight, bias = (self.weight, self.bias) if shared else (None, None)
        (n, channels), pixels = x.shape[:2], x.shape[2:].numel()
        y, _, inverse = torch.native_group_norm(
            centred, weight, bias, n, channels, pixels, channels, self.eps
        )
        if not shared:
            y = (y * self.weight[:, :, None, None] + self.bias[:, :, None, None]).to(x.dtype)
        return _flatten(y, self._is_flat(inverse), self.bias.view(-1, channels))

    def _is_flat(self, inverse: Tensor) -> Tensor:
        """Return which channels are flat, given the roots of 1 / (variance + epsilon)."""
        flat: Tensor = inverse >= (self.eps * (1 + FLAT)) ** -0.5
        return flat


def _flatten(y: Tensor, flat: Tensor, bias: Tensor) -> Tensor:
    """Put the shift (N or 1, C) in the place of flat channels (N, C) of (N, C, H, W)."""
    if _none(flat):
        return y
    return torch.where(flat[..., None, None], bias[..., None, None].to(y.dtype), y)


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

    def inverse(self, y: Tensor) -> Tensor:
        """Return the x that gives y, which is between 0 and 1."""
        return torch.atanh(2 * y - 1)


class Clamp(nn.Module):
    """Cuts what lies outside [0, 1], as is done with the output of networks trained without."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x, cut."""
        return x.clamp(0, 1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the x that gives y, which is between 0 and 1."""
        return y


class UpsampleNearest(nn.Sequential):
    """Nearest upsampling to twice the size and a 3x3 convolution (Odena et al. 2016).

    Computed as one 4x4 transposed convolution of stride 2, whose taps are sums of the 3x3 ones:
    the same values, with 16 multiplications where there were 36 and nothing upsampled in memory.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Upsample(scale_factor=2), convolution(inputs, outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, 2 H, 2 W) for x of (N, inputs, H, W)."""
        # Row t: which of the 3 taps meet in tap t. An output of even index sees its own source
        # pixel by two taps and the one before by one, of odd index its own by two and the next.
        meet = x.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        return _upsample(x, self[-1], meet)


class UpsampleLinear(nn.Sequential):
    """Linear upsampling to twice the size and a 2x2 convolution, which leave no grid.

    Nearest upsampling jumps at every second pixel, and two of its steps leave a weave of period 4.
    Computed as one 4x4 transposed convolution of stride 2: the same values at the same cost as
    `UpsampleNearest`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        # A mean of nearest upsampling and itself, moved by one pixel, is linear upsampling.
        super().__init__(
            nn.Upsample(scale_factor=2),
            nn.ReplicationPad2d(1),
            nn.AvgPool2d(2, stride=1),
            nn.Conv2d(inputs, outputs, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, 2 H, 2 W) for x of (N, inputs, H, W)."""
        # Row t: how much of each of the 2 taps meets in tap t.
        meet = x.new_tensor([[0, 1], [1, 2], [2, 1], [1, 0]]) / 2
        return _upsample(x, self[-1], meet)


def _upsample(x: Tensor, convolution: nn.Module, meet: Tensor) -> Tensor:
    """Upsample and convolve by one transposed convolution, with taps joined as `meet` says."""
    assert isinstance(convolution, nn.Conv2d)
    weight = torch.einsum("oiyx,ty,sx->iots", convolution.weight, meet, meet)
    corner = x[:, :, :1, :1].detach()
    flat = _seems_constant(x).all(dim=1)  # if it is not, no harm is done
    if _none(flat):
        return _transpose(x, weight, convolution.bias)
    # Sums of taps round differently at odd and even pixels, and a norm behind would make a picture
    # of that where there is none: the level of a flat picture is added afterwards.
    level = corner * flat.view(-1, 1, 1, 1)
    added = F.conv2d(level, convolution.weight.sum((2, 3), keepdim=True))
    return _transpose(x - level, weight, convolution.bias) + added


def _transpose(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # A reflection by one pixel of what is twice the size repeats the border of what is not.
    return F.conv_transpose2d(_repeat_border(x), weight, bias, 2, padding=3)


def _is_constant(x: Tensor) -> Tensor:
    """Return which channels of (N, C, H, W) have one value everywhere: bool, (N, C)."""
    seems = _seems_constant(x)
    return seems if _none(seems) else (x == x[:, :, :1, :1]).all(dim=3).all(dim=2)


def _seems_constant(x: Tensor) -> Tensor:
    """Return what `_is_constant` does, judged by one pixel in 64."""
    return (x[:, :, ::8, ::8] == x[:, :, :1, :1]).all(dim=3).all(dim=2)


def _none(flat: Tensor) -> bool:
    """Say whether none is flat, where asking costs less than treating all as if some were."""
    return _is_eager_on_cpu(flat) and not flat.any()


def _is_eager_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _repeat_border(x: Tensor) -> Tensor:
    """Return (N, C, H + 2, W + 2) for x of (N, C, H, W)."""
    if torch.compiler.is_dynamo_compiling():
        # torch 2.11 to 2.15 miscompile the backward of the padding in channels_last.
        x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
        return torch.cat([x[..., :1], x, x[..., -1:]], 3)
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


def upsample_transposed(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Return the paper's 3x3 convolution of stride 1/2."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
