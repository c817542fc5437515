"""How the learning rate changes, and how the average of the weights follows them."""

import math

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fst.config import OptimizerConfig


def learning_rate(seen_images: int, images: int, config: OptimizerConfig) -> float:
    """Return the rate after `seen_images` of `images`: linear warm-up, then cosine decay to 0."""
    warmup = config.warmup_fraction * images
    if seen_images < warmup:
        return config.learning_rate * (seen_images + 1) / (warmup + 1)
    progress = (seen_images - warmup) / (images - warmup)
    return config.learning_rate * (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the exponential moving average towards the network: a <- decay a + (1 - decay) w."""
    kept, current = list(average.parameters()), list(network.parameters())
    move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    move(kept, current, None)
    for own, its in zip(average.buffers(), network.buffers(), strict=True):
        own.copy_(its)
