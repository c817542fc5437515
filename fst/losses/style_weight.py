"""The style term's weight, moved so that content keeps the distance that is aimed at."""

import torch
from torch import Tensor

from fst.config import LossConfig

ADAPTATION_PER_IMAGE = 0.01
"""Change of the weight's logarithm per image and unit of content distance."""


def missing_content(config: LossConfig, distances: Tensor, styles: Tensor, of_all: int) -> Tensor:
    """Return how far content distances are below `content_target`, summed by style.

    Args:
        config: has the target; without one nothing is missing.
        distances: the content terms of a step, (N,).
        styles: the number of each picture's style, (N,).
        of_all: how many styles there are, S.

    Returns:
        (S,).
    """
    missing = torch.zeros(of_all, device=distances.device)
    if config.content_target is None:
        return missing
    return missing.index_add_(0, styles, config.content_target - distances.detach().float())


@torch.no_grad()
def adapt(weights: Tensor, config: LossConfig, missing: Tensor) -> None:
    """Move style weights (S,), in place, so that content distances approach `content_target`.

    An integral controller on the logarithm of each weight, which keeps within a factor of ten of
    the configuration's.

    Args:
        weights: what is moved.
        config: has the weight to begin with.
        missing: what `missing_content` returned, summed over all processes.
    """
    weights.mul_((ADAPTATION_PER_IMAGE * missing).exp())
    weights.clamp_(config.style_weight / 10, config.style_weight * 10)
