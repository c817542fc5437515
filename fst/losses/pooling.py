"""Style statistics of several pictures are compared as one.

No photograph has everything that a painting has. Held against a painting on its own, a sky must
hold all of its strokes and colours, and turns into camouflage; held against it together with other
pictures, it may stay a sky. This is the difference between bias and variance: the mean of many
pictures is to have the painting's statistics, and each of them may depart from that mean.

Shapes: N pictures, S styles.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fst.losses.objective import Objective


class RunningPool(nn.Module):
    """Pools pictures with those seen before in the same style, in one step or many."""

    def __init__(self, objective: Objective) -> None:
        """Begin as if all pictures before had the styles' own statistics.

        Args:
            objective: has the styles; its configuration's `style_pictures` is the span of an
                exponential moving average.
        """
        super().__init__()
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}
        self.share = 2 / (objective.loss.config.style_pictures + 1)
        for name in objective.names:
            self.register_buffer(name, objective.get_buffer(name).clone())

    def forward(self, styles: Tensor, name: str, statistics: Tensor) -> Tensor:
        """Return the pooled statistics, a `Pool`; `advance` then keeps the pictures' own."""
        recent = self.get_buffer(name)
        seen = statistics.detach().to(recent)
        self.seen[name] = _sum_by_style(styles, seen, len(recent))
        return _with_gradient_of(statistics, recent[styles].lerp(seen, self.share))

    def advance(self, total: Callable[[Tensor], Tensor] = lambda values: values) -> None:
        """Keep the pictures of the last step.

        Args:
            total: sums over all processes.
        """
        for name, (sums, count) in self.seen.items():
            recent, of_each = self.get_buffer(name), total(count)
            mean = total(sums) / of_each.clamp_min(1)
            # Each of several pictures in a style leaves its share, whatever their order.
            moved = recent.lerp(mean, 1 - (1 - self.share) ** of_each)
            recent.copy_(torch.where(moved.isfinite(), moved, recent))  # fp16 overflows


def pool_batch(styles: Tensor, name: str, statistics: Tensor) -> Tensor:
    """Return the mean statistics of the batch's pictures in the same style: a `Pool`."""
    sums, count = _sum_by_style(styles, statistics.detach(), len(statistics))
    return _with_gradient_of(statistics, (sums / count.clamp_min(1))[styles])


def _sum_by_style(styles: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the sum of the values (N, ...) in each of `count` styles, and how many there are."""
    sums = values.new_zeros(count, *values.shape[1:]).index_add_(0, styles, values)
    of_each = values.new_zeros(count).index_add_(0, styles, values.new_ones(len(values)))
    return sums, of_each.view(-1, *[1] * (values.ndim - 1))


def _with_gradient_of(statistics: Tensor, pooled: Tensor) -> Tensor:
    """Return pooled values through which each picture has the gradient that its own would have.

    A picture is a small part of a pool: without this, pooling would lower the style's weight.
    """
    return statistics + (pooled - statistics.detach())
