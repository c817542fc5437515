"""Terms of a loss that need no features: each is one small object with a name and a weight.

Shapes: N pictures of H x W pixels.
"""

from abc import ABC, abstractmethod

from torch import Tensor

from fst.losses.statistics import at_least_fp32, differences, mean_absolute_difference


class Term(ABC):
    """One term: what of a photograph it is held against, and how far a result is from that."""

    name: str
    """By which progress, `metrics.jsonl`, TensorBoard and reports show it."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def target(self, photograph: Tensor) -> Tensor:
        """Return what of photographs (N, 3, H, W) in [0, 1] is kept to compare; here nothing."""
        return photograph.new_empty(0)

    @abstractmethod
    def __call__(self, stylized: Tensor, target: Tensor) -> Tensor:
        """Return (N,), unweighted, for results (N, 3, H, W) in [0, 1] and what `target` gave."""


class TotalVariation(Term):
    """How rough a result is: the mean absolute difference of neighbours."""

    name = "total_variation"

    def __call__(self, stylized: Tensor, target: Tensor) -> Tensor:
        """Return (N,) in [0, 2]."""
        return mean_absolute_difference(stylized)


class SquaredVariation(Term):
    """How rough a result is, as Johnson et al. 2016 have it."""

    name = "total_variation"

    def __call__(self, stylized: Tensor, target: Tensor) -> Tensor:
        """Return half the squared differences on the 0-255 scale, summed over each picture."""
        across, down = differences(255 * at_least_fp32(stylized))
        return (across.square().sum((1, 2, 3)) + down.square().sum((1, 2, 3))) / 2
