"""The frozen VGG16 (Simonyan & Zisserman 2015) in whose features pictures are compared.

The Oxford weights, which Gatys et al. and Johnson et al. used and torchvision publishes as
`VGG16_Weights.IMAGENET1K_FEATURES`, are released under CC BY 4.0. They expect RGB in [0, 255]
less a mean; this module alone knows that.
"""

import hashlib
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from fst.atomic import write_bytes
from fst.cache import cache_path
from fst.config import VGG16_LAYERS, Padding
from fst.errors import UserError
from fst.weights_file import read_weights

_MEAN_RGB = (255 * 0.48235, 255 * 0.45882, 255 * 0.40784)
_CHANNELS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_TORCHVISION_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
# First quarter of the SHA-256 of the fp32 weights (output, input, row, column) and biases.
_FINGERPRINTS = {
    "relu1_1": "070df0f19cbb2321",
    "relu1_2": "ec92eec3b1defc40",
    "relu2_1": "d9e5b357e096c317",
    "relu2_2": "9ac52d8787b11abc",
    "relu3_1": "7545520369c51917",
    "relu3_2": "7896e5d8526961f0",
    "relu3_3": "9cbb8afb7c4e9621",
}


_ANCHOR = "features.0.weight"


class NoWeightsError(FileNotFoundError):
    """There are no VGG16 weights, and they cannot be downloaded."""


class OtherWeightsError(UserError):
    """The file holds weights of VGG16, but not the published ones."""


def deepest(layers: Collection[str]) -> str:
    """Return the deepest of the layers."""
    return max(layers, key=VGG16_LAYERS.index)


class VGG16(nn.Module):
    """VGG16's convolutions up to `last_layer`, frozen, without the classifier.

    Max pooling as published; Gatys et al. suggest average pooling, which no later work kept.
    `padding` is torch's `padding_mode`: zeros as published, or reflect.
    """

    def __init__(self, last_layer: str = VGG16_LAYERS[-1], padding: Padding = "zeros") -> None:
        super().__init__()
        depth = VGG16_LAYERS.index(last_layer) + 1
        inputs = (3, *_CHANNELS)
        self.convolutions = nn.ModuleDict(
            {
                layer: nn.Conv2d(inputs[i], inputs[i + 1], 3, padding=1, padding_mode=padding)
                for i, layer in enumerate(VGG16_LAYERS[:depth])
            }
        )
        self.register_buffer("mean_rgb", torch.tensor(_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.mean_rgb: Tensor
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Return the rectified features of `layers`; the pass stops at the deepest of them.

        Args:
            image: (N, 3, H, W) in [0, 1], sRGB; H and W at least 2 for each pooling on the way.
            layers: names of `VGG16_LAYERS`.

        Returns:
            For each layer (N, C, H / s, W / s), s being 1 in block 1, 2 in block 2, 4 in 3 ...
        """
        features = {}
        x = image * 255 - self.mean_rgb
        last_layer = deepest(layers)
        for layer, convolution in self.convolutions.items():
            if layer.endswith("_1") and layer != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(convolution(x), inplace=True)
            if layer in layers:
                features[layer] = x
            if layer == last_layer:
                break
        return features

    def in_vgg16_channels(self, features: Tensor, layer: str) -> Tensor:
        """Return the features as they are: `Slim` has other channels."""
        return features


def load_vgg16(
    weights: str | Path | None, last_layer: str, verify: bool = True, padding: Padding = "zeros"
) -> VGG16:
    """Return VGG16 up to `last_layer` with published weights.

    Args:
        weights: a safetensors file or torch state dict with torchvision's keys
            `features.N.weight`; None takes the cache, which a download fills if it is empty.
        last_layer: the deepest layer that will be needed.
        verify: refuse weights other than the published ones (fingerprints of conv1_1 to conv3_3).
        padding: what is beyond the border of the features, zeros or reflect.

    Raises:
        NoWeightsError: no weights are there and none can be downloaded.
        OtherWeightsError: `verify` found other weights.
        UserError: the file is not a VGG16, lacks layers, or holds values that are not finite.
    """
    path = Path(weights) if weights is not None else fetch_weights()
    tensors = read_weights(path, _ANCHOR)
    network = VGG16(last_layer, padding)
    for layer, convolution in network.convolutions.items():
        index = _TORCHVISION_INDEX[VGG16_LAYERS.index(layer)]
        for kind, parameter in convolution.named_parameters():
            key = f"features.{index}.{kind}"
            if key not in tensors:
                if layer == VGG16_LAYERS[0]:
                    raise UserError(f"{path} is not torchvision's VGG16: it has no {key}")
                raise UserError(
                    f"{path} has no {key} ({layer}), but the loss compares up to {last_layer}: "
                    "compare at fewer layers, or use weights that have them all"
                )
            if tensors[key].shape != parameter.shape:
                raise UserError(
                    f"{path} is not VGG16: {key} has shape {tuple(tensors[key].shape)}, "
                    f"not {tuple(parameter.shape)}"
                )
            parameter.data.copy_(tensors[key])
    if verify:
        _verify(network, path)
    return network


def fetch_weights() -> Path:
    """Return the file of cached weights; download it first if it is missing.

    Raises:
        NoWeightsError: it cannot be downloaded.
    """
    path = cache_path("vgg16_features.safetensors")
    if path.exists():
        return path
    from torchvision.models import VGG16_Weights  # slow to import, and needed this once

    url = VGG16_Weights.IMAGENET1K_FEATURES.url
    brought = cache_path(url.rpartition("/")[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    if brought.exists():
        _keep_convolutions(brought, path)
    else:
        _download(url, path)
    return path


def _keep_convolutions(whole: Path, path: Path) -> None:
    """Write the 59 MB of convolutions in torchvision's file of 528 MB."""
    convolutions = {
        k: v for k, v in read_weights(whole, _ANCHOR).items() if k.startswith("features.")
    }
    write_bytes(path, save(convolutions, {"licence": "CC BY 4.0, Oxford VGG"}))


def _download(url: str, path: Path) -> None:
    """Download torchvision's file, check its hash and keep the convolutions."""
    sha256_prefix = url.rpartition("-")[2].removesuffix(".pth")
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)  # otherwise a firewall that drops packets would block forever
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / "vgg16.pth"
        try:
            torch.hub.download_url_to_file(url, str(whole), hash_prefix=sha256_prefix)
        except (OSError, RuntimeError) as error:
            raise NoWeightsError(
                f"no VGG16 weights: cannot download {url} ({error}). Set HTTPS_PROXY if you need "
                "a proxy, or download that address on another machine and put the file into "
                f"{path.parent}"
            ) from error
        finally:
            socket.setdefaulttimeout(patience)
        _keep_convolutions(whole, path)


def _verify(network: VGG16, path: Path) -> None:
    for layer, convolution in network.convolutions.items():
        values = [convolution.get_parameter(kind).numpy().tobytes() for kind in ("weight", "bias")]
        found = hashlib.sha256(b"".join(values)).hexdigest()[:16]
        if layer in _FINGERPRINTS and found != _FINGERPRINTS[layer]:
            raise OtherWeightsError(
                f"{path} does not hold the Oxford weights of VGG16 (torchvision's "
                f"IMAGENET1K_FEATURES): {layer} differs. Other weights expect another input"
            )
