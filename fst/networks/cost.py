"""What a network costs: parameters and operations."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fst.networks.plain import plain
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler


def count_parameters(network: nn.Module) -> int:
    """Return the number of learned values."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: TransformerNetwork | Upscaler, height: int, width: int) -> int:
    """Return the floating-point operations of one pass: convolutions, 2 per multiply-add.

    They are those of the network as it is written (`plain`), whatever is saved in computing it.
    Nothing is computed: the network is run on shapes alone.
    """
    shapes = plain(network).to("meta", torch.float32)
    image = torch.empty(1, 3, height, width, device="meta")
    with torch.no_grad():
        return flops_of(shapes, image)


def flops_of(run: Callable[[Tensor], object], images: Tensor) -> int:
    """Return the operations of a run: convolutions and matmuls, 2 per multiply-add."""
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, and seldom needed

    with FlopCounterMode(display=False) as counter:
        run(images)
    flops: int = counter.get_total_flops()
    return flops
