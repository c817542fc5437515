"""Networks as exported files hold them: with the conversions that fst otherwise makes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from fst.models.export_options import ExportOptions
from fst.networks.layers import Clamp, ScaledTanh
from fst.networks.plain import plain
from fst.networks.styled import StyledNetwork, norm_parameters
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler


class AnySize(nn.Module):
    """A transformer network with its padding, in operations that keep H and W dynamic."""

    def __init__(self, network: TransformerNetwork, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        """Stylize like `TransformerNetwork.forward`, computing in the network's dtype."""
        image = image.to(self.dtype)
        height, width = image.shape[-2:]
        network = self.network
        stride = network.stride
        least = network.min_px // stride
        # Strides are counted, because torch finds remainders hard to reason about: a
        # maximum of remainders made an export take twice as long.
        missing: list[Any] = [
            stride * torch.sym_max(least, (px + stride - 1) // stride) - px
            for px in (height, width)
        ]
        # A fixed size that fits needs neither padding nor cropping, which few runtimes support.
        if all(isinstance(px, int) and px == 0 for px in missing):
            return network.body(image)
        padded = F.pad(image, [0, missing[1], 0, missing[0]], mode="replicate")
        return network.body(padded)[..., :height, :width]


class Standalone(nn.Module):
    """The network with its conversions, for runtimes that know nothing about fst.

    Takes and returns (N, 3, H, W), float in [0, `range_max`], or with `uint8` bytes (N, H, W, 3).
    """

    def __init__(
        self, network: TransformerNetwork | Upscaler, dtype: torch.dtype, options: ExportOptions
    ) -> None:
        super().__init__()
        network = network.to(dtype)
        self.network = network if isinstance(network, Upscaler) else AnySize(network, dtype)
        self.uint8 = options.uint8
        self.range_max = options.range

    def forward(self, image: Tensor) -> Tensor:
        """Return the network's result for a picture of any size."""
        return self.convert(image, self.network)

    def convert(self, image: Tensor, network: Callable[[Tensor], Tensor]) -> Tensor:
        """Return a network's result with the conversions around it."""
        if self.uint8:
            image = image.permute(0, 3, 1, 2).float()
        white = 255 if self.uint8 else self.range_max
        if white != 1:
            image = image / white
        result = network(image).float()
        if white != 1:
            result = result * white
        if self.uint8:
            return result.round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return result


class StandaloneStyled(Standalone):
    """A network of several styles, whose second input are the values of a style."""

    def __init__(self, styled: StyledNetwork, dtype: torch.dtype, options: ExportOptions) -> None:
        network = plain(styled.network)
        replace_modules(network, nn.InstanceNorm2d, _FedNorm)
        replace_modules(network, (ScaledTanh, Clamp), _FedOutput)
        super().__init__(network, dtype, options)
        *_, output = (name for name, each in network.named_modules() if type(each) is _FedOutput)
        own = norm_parameters(styled.network)
        self.names = [f"network.{name}" for name in (*own, f"{output}.palette")]
        self.sizes = [*(len(values) for values in own.values()), styled.palettes[0].numel()]

    def forward(self, image: Tensor, values: Tensor) -> Tensor:  # type: ignore[override]
        """Return the pictures, each in the style of its values, (N, V), as `values_of` has them."""
        parts = torch.split(values, self.sizes, dim=1)
        fed = dict(zip(self.names, (each[:, :, None, None] for each in parts), strict=True))
        return self.convert(image, lambda x: functional_call(self.network, fed, (x,)))


def values_of(styled: StyledNetwork) -> Tensor:
    """Return each style's values, (K, V): its vector, then its palette. They blend linearly."""
    return torch.cat([styled.vectors(), styled.palettes.flatten(1)], dim=1).detach()


class StandaloneBlend(StandaloneStyled):
    """A network of several styles, whose shares are its second input."""

    def __init__(self, styled: StyledNetwork, dtype: torch.dtype, options: ExportOptions) -> None:
        super().__init__(styled, dtype, options)
        self.register_buffer("values", values_of(styled))

    def forward(self, image: Tensor, shares: Tensor) -> Tensor:  # type: ignore[override]
        """Return the pictures, each in its own blend of the styles, shares (N, K)."""
        return super().forward(image, shares @ self.get_buffer("values"))


class _FedNorm(nn.Module):
    """An instance norm whose scales and shifts, (N, C, 1, 1), are put in its parameters' place."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        wide = F.instance_norm(x.float(), eps=self.eps)  # its sums overflow fp16
        return (wide * self.weight + self.bias).to(x.dtype)


class _FedOutput(nn.Module):
    """The output's nonlinearity behind a palette, (N, 12, 1, 1), that is put in its place."""

    def __init__(self, output: nn.Module) -> None:
        super().__init__()
        self.output = output
        self.palette = nn.Parameter(torch.zeros(1, 12, 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        red, green, blue, offset = (self.palette[:, entry::4] for entry in range(4))
        moved = z + red * z[:, :1] + green * z[:, 1:2] + blue * z[:, 2:] + offset
        result: Tensor = self.output(moved.to(z.dtype))
        return result


class Fp32Norm(nn.Module):
    """A norm computed in fp32 inside a half-precision network: its sums overflow fp16."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm.float()

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> "Fp32Norm":
        return self  # stays fp32 when the network is cast

    def forward(self, x: Tensor) -> Tensor:
        """Return x normed, in its own dtype."""
        normed: Tensor = self.norm(x.float())
        return normed.to(x.dtype)


def replace_modules(
    network: nn.Module,
    kinds: type[nn.Module] | tuple[type[nn.Module], ...],
    by: Callable[[Any], nn.Module],
) -> None:
    """Replace the modules of some kinds."""
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, kinds):
                setattr(parent, name, by(module))


def example_input(options: ExportOptions) -> Tensor:
    """Return an input for tracing."""
    height, width = options.height_width or (65, 76)
    image = torch.rand(1 if options.size else 2, 3, height, width)
    return (image * 255).byte().permute(0, 2, 3, 1).contiguous() if options.uint8 else image


def open_dimensions(options: ExportOptions) -> dict[int, Any] | None:
    """Return the dynamic dimensions of the input: number of pictures, height and width."""
    if options.size is not None:
        return None
    return dict.fromkeys((0, 1, 2) if options.uint8 else (0, 2, 3), torch.export.Dim.DYNAMIC)
