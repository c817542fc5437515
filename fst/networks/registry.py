"""The networks by name."""

from typing import Any

from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.transformer import TransformerNetwork

NETWORKS: dict[str, type[TransformerNetwork]] = {"johnson": Johnson, "fast": Fast}
"""The networks by the name that the configuration and the model file give."""


def build_network(name: str, arguments: dict[str, Any]) -> TransformerNetwork:
    """Return a new network.

    Raises:
        ValueError: there is no such network, or it takes no such arguments.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, KeyError) as error:
        raise ValueError(f"network {name!r} can't be built with {arguments}: {error}") from error


def network_name(network: TransformerNetwork) -> str:
    """Return the name of the network in `NETWORKS`."""
    return next(name for name, kind in NETWORKS.items() if type(network) is kind)
