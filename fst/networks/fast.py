"""Our own network: Johnson's job at a fraction of the cost."""

from torch import nn

from fst.networks.layers import (
    InstanceNorm,
    ResidualBlock,
    ScaledTanh,
    UpsampleNearest,
    convolution,
)
from fst.networks.transformer import TransformerNetwork


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
