"""The networks in whose features pictures are compared, as the configuration names them."""

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from fst.config import LossNetworkConfig, SlimConfig, Vgg16Config
from fst.losses.slim import Slim, load_slim
from fst.losses.vgg import VGG16, NoWeightsError, OtherWeightsError, deepest, load_vgg16

LossNetwork: TypeAlias = VGG16 | Slim
"""Given pictures (N, 3, H, W) in [0, 1] and names of layers, it returns their features by name."""


def load_loss_network(config: LossNetworkConfig, layers: Collection[str]) -> LossNetwork:
    """Return the network that the configuration names, with what `layers` need of it.

    Raises:
        FileNotFoundError: its weights are not there and can't be downloaded.
        ValueError: the file of weights is not what it should be.
    """
    return LOADERS[type(config)](config, layers)


def _load_vgg16(config: Vgg16Config, layers: Collection[str]) -> VGG16:
    try:
        return load_vgg16(config.weights, deepest(layers), config.verify)
    except NoWeightsError as error:
        raise NoWeightsError(
            f"{error}, or give loss_network.weights=FILE (.pth or .safetensors), or "
            "loss_network=slim, the small loss network that ships with fst: faster, less accurate"
        ) from error
    except OtherWeightsError as error:
        raise OtherWeightsError(f"{error}; loss_network.verify=false accepts them") from error


LOADERS: dict[type[LossNetworkConfig], Callable[[Any, Collection[str]], LossNetwork]] = {
    Vgg16Config: _load_vgg16,
    SlimConfig: lambda *_: load_slim(),
}
"""How the network of each kind of configuration is loaded."""
