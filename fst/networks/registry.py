"""The networks by name, and one from its settings."""

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, TypeVar

from torch import nn

from fst import config
from fst.config import AnyNetworkConfig
from fst.errors import UserError
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler

Settings = TypeVar("Settings", bound=AnyNetworkConfig)


NETWORKS: dict[str, type[TransformerNetwork]] = {
    name: resolve_name(settings.network) for name, settings in config.NETWORKS.items()
}
"""The networks by the name that the configuration and the model file give."""
UPSCALERS: dict[str, type[Upscaler]] = {
    name: resolve_name(settings.network) for name, settings in config.UPSCALERS.items()
}
"""The super-resolution networks, likewise."""
RETIRED = {"fast": {"upsample": "linear", "border": "pixels"}}
"""Settings in model files of before: the networks have only this value of each left."""


def build_network(name: str, arguments: Mapping[str, Any]) -> TransformerNetwork:
    """Return a new network.

    Raises:
        UserError: there is no such network, or it takes no such arguments.
    """
    if name not in NETWORKS:
        raise UserError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}")
    return NETWORKS[name](_settings(config.NETWORKS[name], arguments))


def build_upscaler(name: str, arguments: Mapping[str, Any]) -> Upscaler:
    """Return a new super-resolution network; raise UserError if it takes no such arguments."""
    return UPSCALERS[name](_settings(config.UPSCALERS[name], arguments))


def _settings(kind: type[Settings], arguments: Mapping[str, Any]) -> Settings:
    retired = RETIRED.get(kind.name, {})
    for name, left in retired.items():
        if arguments.get(name, left) != left:
            raise UserError(
                f"{name}={arguments[name]} is of an older {kind.name!r} network, which this "
                "version of fst does not have: train it again"
            )
    try:
        return kind(**{name: value for name, value in arguments.items() if name not in retired})
    except TypeError as error:
        raise UserError(f"cannot build network {kind.name!r} with {arguments}: {error}") from error


def network_name(network: nn.Module) -> str:
    """Return the name of the network in `NETWORKS` or `UPSCALERS`."""
    assert isinstance(network, TransformerNetwork | Upscaler)
    return network.settings.name
