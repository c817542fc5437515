"""Whether two measures put things in the same order."""

import torch
from torch import Tensor


def spearman(a: Tensor, b: Tensor) -> float:
    """Return the rank correlation of two rows of values."""
    return torch.corrcoef(torch.stack([a.argsort().argsort(), b.argsort().argsort()]).double())[
        0, 1
    ].item()
