"""The default network: the job of Johnson's at a fraction of the cost."""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.networks.layers import (
    InstanceNorm,
    ResidualBlock,
    ScaledTanh,
    UpsampleLinear,
    UpsampleNearest,
    convolution,
)
from fst.networks.transformer import TransformerNetwork

Upsampling: TypeAlias = Callable[[int, int], nn.Module]
"""Given channels of input and output, a layer that doubles height and width."""
UPSAMPLINGS: dict[str, Upsampling] = {"linear": UpsampleLinear, "nearest": UpsampleNearest}


def _stem_mirroring_pixels(width: int) -> list[nn.Module]:
    mirrored = nn.Sequential(nn.ReflectionPad2d(4), nn.PixelUnshuffle(4))
    return [mirrored, nn.Conv2d(48, width, 3)]


def _stem_mirroring_patches(width: int) -> list[nn.Module]:
    return [nn.PixelUnshuffle(4), convolution(48, width, 3)]


STEMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "pixels": _stem_mirroring_pixels,
    "patches": _stem_mirroring_patches,
}


class Fast(TransformerNetwork):
    """The default: nearly all its work is at a quarter and an eighth of the resolution.

    A space-to-depth stem folds each 4x4 patch into 48 channels. Residual blocks work on those and,
    in a coarse stage beside them, at an eighth of the resolution, which is what makes shapes as
    large as a painting's. Two steps of linear upsampling and convolution lead back; nearest
    upsampling leaves a weave of period 4, and a pixel-shuffle head a coarser grid still.
    """

    def __init__(
        self,
        width: int = 40,
        residual_blocks: int = 2,
        coarse_width: int = 64,
        coarse_blocks: int = 4,
        full_width: int = 12,
        upsample: str = "linear",
        border: str = "pixels",
    ) -> None:
        """Build the network.

        Args:
            width: channels at quarter resolution.
            residual_blocks: there; half of them before the coarse stage, half after it.
            coarse_width: channels at an eighth of the resolution, a multiple of 4.
            coarse_blocks: residual blocks there; 0 leaves the coarse stage out.
            full_width: channels at full resolution.
            upsample: `linear`, or `nearest` as in older models.
            border: what is mirrored there: `pixels`, or whole `patches` of 4x4 as in older models.
        """
        super().__init__(
            width=width,
            residual_blocks=residual_blocks,
            coarse_width=coarse_width,
            coarse_blocks=coarse_blocks,
            full_width=full_width,
            upsample=upsample,
            border=border,
        )
        twice = UPSAMPLINGS[upsample]
        self.stem = nn.Sequential(*STEMS[border](width), InstanceNorm(width), nn.ReLU())
        self.residual = nn.Sequential(*(ResidualBlock(width) for _ in range(residual_blocks)))
        self.coarse = None
        if coarse_blocks:
            self.coarse = CoarseStage(width, coarse_width, coarse_blocks, twice)
            self.stride, self.min_px = 8, 16
        half = width // 2
        self.head = nn.Sequential(
            twice(width, half), InstanceNorm(half), nn.ReLU(inplace=True),
            twice(half, full_width), nn.ReLU(inplace=True),
            convolution(full_width, 3, 3), ScaledTanh(),
        )  # fmt: skip

    def body(self, image: Tensor) -> Tensor:
        """Stylize (N, 3, H, W): what the units do, without packing the coarse features."""
        first, second = self._halves()
        x: Tensor = nn.Sequential(self.stem, *first)(image)
        if self.coarse is not None:
            x = self.coarse(x)
        result: Tensor = nn.Sequential(*second, self.head)(x)
        return result

    def units(self) -> list[nn.Module]:
        """Return the stem, each residual block and each step of the coarse stage, the head."""
        first, second = self._halves()
        coarse = [] if self.coarse is None else self.coarse.units()
        return [self.stem, *first, *coarse, *second, self.head]

    def _halves(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the residual blocks before the coarse stage and those after it."""
        blocks = list(self.residual)
        return blocks[: len(blocks) // 2], blocks[len(blocks) // 2 :]


class CoarseStage(nn.Module):
    """Residual blocks at half the resolution, whose result is added to what came in."""

    def __init__(self, width: int, coarse_width: int, blocks: int, upsample: Upsampling) -> None:
        super().__init__()
        self.down = nn.Sequential(
            # 4x4, not 3x3: with a stride of 2 it treats left and right alike.
            nn.Conv2d(width, coarse_width, 4, stride=2, padding=1, padding_mode="reflect"),
            InstanceNorm(coarse_width),
            nn.ReLU(inplace=True),
        )
        self.residual = nn.Sequential(*(ResidualBlock(coarse_width) for _ in range(blocks)))
        self.up = nn.Sequential(upsample(coarse_width, width), InstanceNorm(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus its change, both (N, width, H, W) with H and W even."""
        change: Tensor = self.up(self.residual(self.down(x)))
        return x + change

    def units(self) -> list[nn.Module]:
        """Return steps that give what `forward` gives, each from one tensor to one tensor.

        Between them the coarse features ride behind x in its own resolution, each 2x2 block of
        pixels holding what four coarse channels have at one.
        """
        return [_Descend(self.down), *(_AtHalf(block) for block in self.residual), _Ascend(self.up)]


class _Descend(nn.Module):
    def __init__(self, down: nn.Module) -> None:
        super().__init__()
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, F.pixel_shuffle(self.down(x), 2)], dim=1)


class _AtHalf(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, ResidualBlock)
        self.block = block

    def forward(self, both: Tensor) -> Tensor:
        packed = self.block.conv1.in_channels // 4
        x, coarse = both[:, :-packed], F.pixel_unshuffle(both[:, -packed:], 2)
        return torch.cat([x, F.pixel_shuffle(self.block(coarse), 2)], dim=1)


class _Ascend(nn.Module):
    def __init__(self, up: nn.Sequential) -> None:
        super().__init__()
        self.up = up

    def forward(self, both: Tensor) -> Tensor:
        width = self.up[1].num_features
        change: Tensor = self.up(F.pixel_unshuffle(both[:, width:], 2))
        return both[:, :width] + change
