"""What an upscaler minimises: differences of pixels, and of a loss network's features.

Shapes: N pictures of H x W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.config import UpscalingLossConfig
from fst.losses.loss_network import LossNetwork
from fst.losses.statistics import mean_absolute_difference

OFFSETS = 4
"""As many in each direction as the stride of the deepest layer's poolings together."""
NEIGHBOURHOOD = 5
"""Blocks in each direction over which a regular pattern repeats before it is one."""


def grid_term(difference: Tensor, factor: int) -> Tensor:
    """Return (N,): the mean absolute mean of what each place in a block of pixels is off by.

    The pixel shuffle computes each of the factor x factor places of a block by weights of its own.
    In flat areas, where features ask for texture but the small picture has none, a network draws
    the same pattern in every block, which the eye sees as a grid. Means over neighbouring blocks
    keep such a pattern and cancel what differs from block to block, such as detail.

    Args:
        difference: of the result and the original, (N, 3, H, W).
        factor: the side of a block, which divides H and W.
    """
    places = F.pixel_unshuffle(difference, factor)
    return F.avg_pool2d(places, NEIGHBOURHOOD, 1).abs().mean((1, 2, 3))


class UpscalingLoss(nn.Module):
    """The loss of enlarged pictures against the originals, by terms (Johnson et al. 2016, 3.2)."""

    def __init__(
        self, config: UpscalingLossConfig, factor: int, loss_network: LossNetwork | None
    ) -> None:
        """Use a loss network for a factor; None where features have no weight."""
        super().__init__()
        self.config = config
        self.factor = factor
        self.loss_network = loss_network

    def forward(self, enlarged: Tensor, original: Tensor, number: int = 0) -> dict[str, Tensor]:
        """Return the terms, each (N,), for pictures (N, 3, H, W) in [0, 1], and their `total`.

        `pixel` is a mean absolute or squared difference; `feature` a mean squared difference
        relative to the mean square of the original's features; `grid` how regular the difference
        is; `total_variation` the mean absolute difference of neighbours.

        Args:
            enlarged: the network's result.
            original: what it should be.
            number: of the step. The loss network's poolings are blind to grids aligned with their
                own, so each step shows it the pictures at another offset.
        """
        config = self.config
        difference = enlarged - original
        pixels = difference.abs() if config.pixel == "absolute" else difference.square()
        terms = {"pixel": pixels.mean((1, 2, 3))}
        total = config.pixel_weight * terms["pixel"]
        if self.loss_network is not None:
            layer = config.feature_layer
            down, across = number % OFFSETS, number // OFFSETS % OFFSETS
            with torch.no_grad():
                shown = original[..., down:, across:]
                target = self.loss_network(shown, [layer])[layer].float()
            features = self.loss_network(enlarged[..., down:, across:], [layer])[layer].float()
            missed = (features - target).square().mean((1, 2, 3))
            terms["feature"] = missed / target.square().mean((1, 2, 3))
            total = total + config.feature_weight * terms["feature"]
        if config.grid_weight:
            terms["grid"] = grid_term(difference, self.factor)
            total = total + config.grid_weight * terms["grid"]
        if config.tv_weight:
            terms["total_variation"] = mean_absolute_difference(enlarged)
            total = total + config.tv_weight * terms["total_variation"]
        return {**terms, "total": total}
