"""The small loss network: VGG16 up to relu3_3, distilled to a third of its cost.

Its weights ship with fst.

`scripts/release/distill_vgg16.py` trained it to reproduce the features of the Oxford VGG16
(Simonyan & Zisserman 2015, CC BY 4.0) at the three layers that the loss compares. It needs no
download and is fast; docs/design/slim.md says what it costs in quality.
"""

from collections.abc import Collection
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from fst.config import SLIM_CHANNELS, SLIM_LAYERS, Padding
from fst.losses.vgg import deepest

CHANNELS = {
    "relu1_1": (3, 32),
    "relu1_2": (32, SLIM_CHANNELS["relu1_2"]),
    "relu2_1": (SLIM_CHANNELS["relu1_2"], 64),
    "relu2_2": (64, SLIM_CHANNELS["relu2_2"]),
    "relu3_1": (SLIM_CHANNELS["relu2_2"], 128),
    "relu3_2": (128, 128),
    "relu3_3": (128, SLIM_CHANNELS["relu3_3"]),
}
"""Inputs and outputs of each convolution: half of VGG16's, more where features are compared."""
VGG16_CHANNELS = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256}


class Slim(nn.Module):
    """VGG16's shape at half its width, frozen; a linear map follows each compared layer.

    That map leads to VGG16's features in the basis of their principal directions, which holds most
    of them in fewer channels. A change of orthonormal basis changes neither the distance between
    two features nor that between two Gram matrices, so a relative loss is the same in either.
    `padding` is torch's `padding_mode`: zeros as it was distilled, or reflect.
    """

    def __init__(self, padding: Padding = "zeros") -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {
                layer: nn.Conv2d(*channels, 3, padding=1, padding_mode=padding)
                for layer, channels in CHANNELS.items()
            }
        )
        self.maps = nn.ModuleDict(
            {layer: nn.Conv2d(CHANNELS[layer][1], CHANNELS[layer][1], 1) for layer in SLIM_LAYERS}
        )
        for layer in SLIM_LAYERS:
            basis = torch.zeros(VGG16_CHANNELS[layer], CHANNELS[layer][1])
            self.register_buffer(_basis_name(layer), basis)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the features of `layers`; the pass stops at the deepest of them.

        Args:
            image: (N, 3, H, W) in [0, 1], sRGB; H and W at least 4.
            layers: names of `fst.config.SLIM_LAYERS`.

        Returns:
            For each layer (N, C, H / s, W / s), s being 1 in block 1, 2 in block 2, 4 in block 3,
            on a scale of about 1.
        """
        features = {}
        x = 4 * (image - 0.45)  # about VGG16's mean, so that padding with zeros is grey as there
        last_layer = deepest(layers)
        for layer, convolution in self.convolutions.items():
            if layer.endswith("_1") and layer != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(convolution(x), inplace=True)
            if layer in layers:
                features[layer] = self.maps[layer](x)
            if layer == last_layer:
                break
        return features

    def in_vgg16_channels(self, features: Tensor, layer: str) -> Tensor:
        """Return features (N, C, H, W) of a layer as (N, C of VGG16, H, W) in its channels."""
        basis = self.basis(layer)
        return F.conv2d(features.to(basis.dtype), basis[..., None, None])

    def basis(self, layer: str) -> Tensor:
        """Return (C of VGG16, C): the matrix of `in_vgg16_channels`."""
        return self.get_buffer(_basis_name(layer))


def load_slim(padding: Padding = "zeros") -> Slim:
    """Return the network with the weights that ship with fst."""
    network = Slim(padding)
    with resources.as_file(resources.files("fst.losses") / "slim.safetensors") as path:
        network.load_state_dict(read_slim(path))
    return network


def read_slim(path: Path) -> dict[str, Tensor]:
    """Return the weights of a file that `scripts/release/distill_vgg16.py` wrote, as fp32."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118


def _basis_name(layer: str) -> str:
    return f"basis_{layer}"
