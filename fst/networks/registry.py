"""The networks by name."""

from typing import Any

from torch import nn

from fst.errors import UserError
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import FastUpscaler, JohnsonUpscaler, Upscaler

NETWORKS: dict[str, type[TransformerNetwork]] = {"johnson": Johnson, "fast": Fast}
"""The networks by the name that the configuration and the model file give."""
UPSCALERS: dict[str, type[Upscaler]] = {
    "fast_upscaler": FastUpscaler,
    "johnson_upscaler": JohnsonUpscaler,
}
"""The super-resolution networks, likewise."""


def complete_arguments(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a model file means, which may be older than some of them."""
    if name != "fast":
        return arguments
    if "coarse_blocks" not in arguments:
        full_width = arguments.get("width", 40) // 5
        without_coarse = {"width": 40, "residual_blocks": 4, "coarse_blocks": 0}
        arguments = without_coarse | arguments | {"full_width": full_width}
    return {"upsample": "nearest", "border": "patches"} | arguments


def build_network(name: str, arguments: dict[str, Any]) -> TransformerNetwork:
    """Return a new network.

    Raises:
        UserError: there is no such network, or it takes no such arguments.
    """
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, KeyError) as error:
        raise UserError(f"cannot build network {name!r} with {arguments}: {error}") from error


def build_upscaler(name: str, arguments: dict[str, Any]) -> Upscaler:
    """Return a new super-resolution network; raise UserError if it takes no such arguments."""
    try:
        return UPSCALERS[name](**arguments)
    except (TypeError, KeyError) as error:
        raise UserError(f"cannot build network {name!r} with {arguments}: {error}") from error


def network_name(network: nn.Module) -> str:
    """Return the name of the network in `NETWORKS` or `UPSCALERS`."""
    known = {**NETWORKS, **UPSCALERS}
    return next(name for name, kind in known.items() if type(network) is kind)
