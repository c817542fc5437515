"""The network of Johnson et al. 2016."""

from torch import nn

from fst.config import JohnsonConfig
from fst.networks.layers import (
    Clamp,
    InstanceNorm,
    OutputConvolution,
    ResidualBlock,
    ScaledTanh,
    UpsampleNearest,
    convolution,
    upsample_transposed,
)
from fst.networks.transformer import TransformerNetwork

NORMS: dict[str, type[nn.Module]] = {"instance": InstanceNorm, "batch": nn.BatchNorm2d}


class Johnson(TransformerNetwork):
    """The network of Johnson et al. 2016 (supplementary material, table 1).

    With `norm="batch", upsample="transposed"` it is the paper's, but for two things its authors'
    code has as well: reflection padding instead of zeros, and in the residual blocks instead of
    around the picture. The defaults take instance norm (Ulyanov et al. 2016) and nearest
    upsampling with a convolution, which leaves no checkerboard (Odena et al. 2016).
    """

    def __init__(self, settings: JohnsonConfig) -> None:
        super().__init__(settings)
        width = settings.width
        normalise, up = NORMS[settings.norm], UPSAMPLINGS[settings.upsample]
        self.down = nn.Sequential(
            convolution(3, width, 9), normalise(width), nn.ReLU(inplace=True),
            convolution(width, 2 * width, 3, stride=2), normalise(2 * width), nn.ReLU(inplace=True),
            convolution(2 * width, 4 * width, 3, stride=2), normalise(4 * width),
            nn.ReLU(inplace=True),
        )  # fmt: skip
        self.residual = nn.Sequential(
            *(ResidualBlock(4 * width, normalise) for _ in range(settings.residual_blocks))
        )
        self.up = nn.Sequential(
            up(4 * width, 2 * width), normalise(2 * width), nn.ReLU(inplace=True),
            up(2 * width, width), normalise(width), nn.ReLU(inplace=True),
            OutputConvolution(width, 9), OUTPUTS[settings.output](),
        )  # fmt: skip

    def units(self) -> list[nn.Module]:
        """Return the way down, each residual block, the way up."""
        return [self.down, *self.residual, self.up]


UPSAMPLINGS = {"nearest": UpsampleNearest, "transposed": upsample_transposed}
OUTPUTS: dict[str, type[nn.Module]] = {"tanh": ScaledTanh, "clamp": Clamp}
