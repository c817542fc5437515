"""A network as the papers write it: for exports, and to measure against."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from fst.networks.layers import (
    InstanceNorm,
    OutputConvolution,
    UpsampleLinear,
    UpsampleNearest,
    convolution,
)

Module = TypeVar("Module", bound=nn.Module)


def plain(network: Module) -> Module:
    """Return a copy that computes each step as it is written in the papers.

    It has the same weights and gives the same pictures. Other runtimes know its operations well and
    optimise them in their own way; and it is what the speed of ours is measured against.
    """
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, module in list(parent.named_children()):
            if type(module) in _PLAIN:
                setattr(parent, name, _PLAIN[type(module)](module))
    return network


def _plain_norm(norm: InstanceNorm) -> nn.Module:
    twin = nn.InstanceNorm2d(norm.num_features, norm.eps, affine=True)
    twin.weight, twin.bias = norm.weight, norm.bias
    return twin.train(norm.training)


def _plain_output(output: OutputConvolution) -> nn.Module:
    twin = convolution(output.in_channels, 3, output.kernel_size[0])
    twin.weight, twin.bias = output.weight, output.bias
    return twin


_PLAIN: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    InstanceNorm: _plain_norm,
    OutputConvolution: _plain_output,
    UpsampleLinear: lambda upsample: nn.Sequential(*upsample),
    UpsampleNearest: lambda upsample: nn.Sequential(*upsample),
}
