"""From a painting to its style's code: any style at once (Ghiasi et al. 2017, section 3).

Theirs looks at the painting with Inception; ours at the statistics that the loss compares, means
and deviations of the slim loss network's features at three sizes, which ship with fst.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fst.config import SLIM_CHANNELS, MomentsLossConfig

HIDDEN = 256
"""Width of the predictor's two hidden layers."""
SEEN = MomentsLossConfig()
"""What a predictor sees are the style's statistics in this loss and the slim loss network."""
STATISTICS = 2 * SEEN.style_levels * sum(SLIM_CHANNELS[layer] for layer in SEEN.style_layers)
"""The mean and the deviation of each channel of its layers, at each of its sizes."""
SMALLEST_VARIANCE = 1e-6
"""Added before the logarithm of a variance: features may be constant."""


def predictor_input(moments: Mapping[str, Tensor]) -> Tensor:
    """Return what a predictor sees of pictures, (N, `STATISTICS`).

    Args:
        moments: by any name covariance matrices beside means, (N, C, C + 1), in a fixed order, as
            `MomentsLoss.style_targets` returns them.
    """
    parts = []
    for each in moments.values():
        covariance, mean = each[..., :-1], each[..., -1]
        variance = covariance.diagonal(dim1=1, dim2=2)
        parts += [mean, (variance + SMALLEST_VARIANCE).log() / 2]
    return torch.cat(parts, dim=1)


class StylePredictor(nn.Module):
    """A small perceptron from a painting's statistics to a code."""

    def __init__(self, code_size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(STATISTICS))
        self.register_buffer("deviation", torch.ones(STATISTICS))
        self.layers = nn.Sequential(
            nn.Linear(STATISTICS, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
            nn.Linear(HIDDEN, code_size),
        )  # fmt: skip

    @torch.no_grad()
    def standardise_by(self, statistics: Tensor) -> None:
        """Measure what is usual, on the statistics of many paintings, (N, `STATISTICS`)."""
        deviation, mean = torch.std_mean(statistics, 0, correction=0)
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("deviation").copy_(deviation.clamp_min(1e-3))

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the codes (N, `code_size`) of paintings with these statistics."""
        usual, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        # A painting of unseen kind must not lead the layers far out of what they know.
        standard = ((statistics - usual) / deviation).clamp(-4, 4)
        codes: Tensor = self.layers(standard)
        return codes
