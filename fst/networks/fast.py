"""The default network: the job of Johnson's at a fraction of the cost."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import FastConfig
from fst.networks.layers import (
    InstanceNorm,
    ResidualBlock,
    ScaledTanh,
    UpsampleLinear,
    convolution,
)
from fst.networks.transformer import TransformerNetwork


class Fast(TransformerNetwork):
    """The default: nearly all its work is at a quarter and an eighth of the resolution.

    A space-to-depth stem folds each 4x4 patch into 48 channels. Residual blocks work on those and,
    in a coarse stage beside them, at an eighth of the resolution, which is what makes shapes as
    large as a painting's. Two steps of linear upsampling and convolution lead back; nearest
    upsampling leaves a weave of period 4, and a pixel-shuffle head a coarser grid still.
    """

    def __init__(self, settings: FastConfig) -> None:
        super().__init__(settings)
        width = settings.width
        self.stem = nn.Sequential(
            nn.Sequential(nn.ReflectionPad2d(4), nn.PixelUnshuffle(4)),
            nn.Conv2d(48, width, 3), InstanceNorm(width), nn.ReLU(),
        )  # fmt: skip
        self.residual = nn.Sequential(
            *(ResidualBlock(width) for _ in range(settings.residual_blocks))
        )
        self.coarse = None
        if settings.coarse_blocks:
            self.coarse = CoarseStage(width, settings.coarse_width, settings.coarse_blocks)
            self.stride, self.min_px = 8, 16
        half, full_width = width // 2, settings.full_width
        self.head = nn.Sequential(
            UpsampleLinear(width, half), InstanceNorm(half), nn.ReLU(inplace=True),
            UpsampleLinear(half, full_width), nn.ReLU(inplace=True),
            convolution(full_width, 3, 3), ScaledTanh(),
        )  # fmt: skip

    def steps(self) -> list[nn.Module]:
        """Return the units, those of the coarse stage in one, which packs no features."""
        blocks, half = list(self.residual), len(self.residual) // 2
        coarse = [] if self.coarse is None else [self.coarse]
        return [self.stem, *blocks[:half], *coarse, *blocks[half:], self.head]

    def units(self) -> list[nn.Module]:
        """Return the stem, each residual block and each step of the coarse stage, the head."""
        return [
            unit
            for step in self.steps()
            for unit in (step.units() if isinstance(step, CoarseStage) else [step])
        ]


class CoarseStage(nn.Module):
    """Residual blocks at half the resolution, whose result is added to what came in."""

    def __init__(self, width: int, coarse_width: int, blocks: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            # 4x4, not 3x3: with a stride of 2 it treats left and right alike.
            nn.Conv2d(width, coarse_width, 4, stride=2, padding=1, padding_mode="reflect"),
            InstanceNorm(coarse_width),
            nn.ReLU(inplace=True),
        )
        self.residual = nn.Sequential(*(ResidualBlock(coarse_width) for _ in range(blocks)))
        self.up = nn.Sequential(UpsampleLinear(coarse_width, width), InstanceNorm(width))

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
