"""The loss networks, in whose features pictures are compared, by configuration."""

from collections.abc import Callable, Collection
from typing import Any, TypeAlias, cast

from fst.config import LossNetworkConfig, Padding, SlimConfig, Vgg16Config
from fst.losses.slim import Slim, load_slim
from fst.losses.vgg import VGG16, NoWeightsError, OtherWeightsError, deepest, load_vgg16

LossNetwork: TypeAlias = VGG16 | Slim
"""Given pictures (N, 3, H, W) in [0, 1] and names of layers, it returns their features by name."""


def load_loss_network(config: LossNetworkConfig, layers: Collection[str]) -> LossNetwork:
    """Return the loss network of a configuration, up to the deepest of `layers`.

    Raises:
        FileNotFoundError: there are no weights and they cannot be downloaded.
        ValueError: the weights file is not valid.
    """
    return LOADERS[type(config)](config, layers)


def _padding(config: LossNetworkConfig) -> Padding:
    return cast("Padding", config.padding)  # checked there; OmegaConf knows no Literal


def _load_vgg16(config: Vgg16Config, layers: Collection[str]) -> VGG16:
    try:
        return load_vgg16(config.weights, deepest(layers), config.verify, _padding(config))
    except NoWeightsError as error:
        raise NoWeightsError(
            f"{error}, or give loss_network.weights=FILE (.pth or .safetensors), or "
            "loss_network=slim, the small loss network that ships with fst: faster, less accurate"
        ) from error
    except OtherWeightsError as error:
        raise OtherWeightsError(f"{error}; loss_network.verify=false accepts them") from error


LOADERS: dict[type[LossNetworkConfig], Callable[[Any, Collection[str]], LossNetwork]] = {
    Vgg16Config: _load_vgg16,
    SlimConfig: lambda config, _: load_slim(_padding(config)),
}
"""How the network of each kind of configuration is loaded."""
