"""What pictures in known styles are held against: the loss, and each style's statistics and weight.

Shapes: N pictures, S styles, H x W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor, nn

from fst.losses.perceptual import PerceptualLoss

Pool: TypeAlias = Callable[[Tensor, str, Tensor], Tensor]
"""From the number of each picture's style, int64 (N,), the name of a style target and the
statistics of each picture to those that are compared with the target, both (N, ...)."""


class Objective(nn.Module):
    """A perceptual loss of pictures in styles that are known by their numbers."""

    weights: Tensor
    """The style term's weight for each style, (S,)."""

    def __init__(
        self, loss: PerceptualLoss, targets: Mapping[str, Tensor], weights: Tensor
    ) -> None:
        """Take the statistics of S styles.

        Args:
            loss: what measures.
            targets: its `style_targets`, (S, ...).
            weights: of the style term, (S,).
        """
        super().__init__()
        self.names = list(targets)
        for name, target in targets.items():
            self.register_buffer(name, target)
        self.register_buffer("weights", weights)
        self.loss = loss

    def forward(
        self,
        stylized: Tensor,
        content: Tensor,
        styles: Tensor | None = None,
        pool: Pool | None = None,
    ) -> dict[str, Tensor]:
        """Return the loss's terms by name, each (N,).

        Args:
            stylized: (N, 3, H, W) in [0, 1].
            content: the pictures it was made from, of the same shape.
            styles: the number of each picture's style, int64 (N,); None is the first for all.
            pool: joins pictures that are compared with their style as one; None compares each.
        """
        if styles is None:
            styles = torch.zeros(len(stylized), dtype=torch.long, device=stylized.device)
        pool_here = partial(pool, styles) if pool else None
        terms: dict[str, Tensor] = self.loss(stylized, content, *self._of(styles), pool_here)
        return terms

    def content_targets(self, content: Tensor) -> dict[str, Tensor]:
        """Return what `against` takes, measured on photographs (N, 3, H, W) in [0, 1]."""
        return self.loss.content_targets(content)

    def against(
        self, content: Mapping[str, Tensor], stylized: Tensor, styles: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return what `forward` does, with what `content_targets` has measured."""
        if styles is None:
            styles = torch.zeros(len(stylized), dtype=torch.long, device=stylized.device)
        return self.loss.against(content, stylized, *self._of(styles))

    def _of(self, styles: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the targets and the weight of each picture's style."""
        targets = {name: self.get_buffer(name)[styles] for name in self.names}
        return targets, self.weights[styles]


@torch.no_grad()
def towards(loss: PerceptualLoss, *styles: Tensor | Sequence[tuple[Tensor, float]]) -> Objective:
    """Return the loss of pictures in these styles, numbered in their order.

    Args:
        loss: what measures.
        styles: each (1, 3, H, W) in [0, 1]; or several of them with their shares. The target is
            then the mean of their statistics, whose squared distance differs from the mean of their
            squared distances by a constant.
    """
    measured = [
        _mean_targets(loss, [(style, 1.0)] if isinstance(style, Tensor) else style)
        for style in styles
    ]
    targets = {name: torch.cat([each[name] for each in measured]) for name in measured[0]}
    first = next(iter(targets.values()))
    return Objective(loss, targets, first.new_full((len(styles),), loss.config.style_weight))


def _mean_targets(
    loss: PerceptualLoss, pictures: Sequence[tuple[Tensor, float]]
) -> dict[str, Tensor]:
    shares = sum(share for _, share in pictures)
    mean: dict[str, Tensor] = {}
    for picture, share in pictures:
        for name, part in loss.style_targets(picture).items():
            mean[name] = mean.get(name, 0) + part * (share / shares)
    return mean


@torch.no_grad()
def mean_terms(
    loss: Objective, stylized: Tensor, contents: Tensor, style: int = 0
) -> dict[str, float]:
    """Return the terms of `loss` as means over pictures, which are taken one by one.

    Training and evaluation both judge by this, so that their figures agree to the last bit.

    Args:
        loss: what judges.
        stylized: (N, 3, H, W) in [0, 1].
        contents: what they were made from, of the same shape.
        style: the number of their style.
    """
    sums: dict[str, Tensor] = {}
    styles = torch.tensor([style], device=stylized.device)
    for y, x in zip(stylized, contents, strict=True):
        for name, value in loss(y[None], x[None], styles).items():
            sums[name] = sums.get(name, 0) + value.float()
    means = torch.cat(list(sums.values())) / len(stylized)
    return dict(zip(sums, means.tolist(), strict=True))
