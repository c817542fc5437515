"""The model file: one safetensors file that holds a network and what is known of it.

Loading executes nothing and needs no training code. State dicts of the widespread PyTorch ports of
Johnson's network (0-255 in and out) load as well.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fst import __version__
from fst.atomic import replacing
from fst.errors import UserError
from fst.networks.registry import build_network, complete_arguments, network_name
from fst.networks.transformer import TransformerNetwork

FORMAT_VERSION = 1
METADATA_KEY = "fst"


@dataclass
class ModelInfo:
    """What a model file says of its network, beside the weights."""

    network: str
    """Its name in `fst.networks.registry.NETWORKS`."""
    network_arguments: dict[str, Any]
    title: str = ""
    """The style's title."""
    seen_images: int = 0
    """How many images it was trained on."""
    losses: dict[str, float] = field(default_factory=dict)
    """The last held-out losses, by name."""
    loss_network: str = ""
    """The network that judged it."""
    training_config: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    fst_version: str = __version__
    format_version: int = FORMAT_VERSION


def save_model(path: str | Path, network: TransformerNetwork, info: ModelInfo) -> None:
    """Write the network's weights and `info` as one safetensors file, atomically."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    metadata = {METADATA_KEY: json.dumps(dataclasses.asdict(info), sort_keys=True)}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_model(path: str | Path) -> tuple[TransformerNetwork, ModelInfo]:
    """Return the network of a model file, on the CPU in evaluation mode, and what it says.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, of a newer format, or no model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}")
    if path.suffix == ".safetensors":
        tensors, info = _read_own(path)
    else:
        tensors, info = _read_foreign(path)
    network = build_network(info.network, complete_arguments(info.network, info.network_arguments))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the network it names: {error}") from error
    return network.eval().requires_grad_(False), info


def find_model(name_or_path: str | Path) -> Path:
    """Return the model file that is meant: a file, a run folder, or a name.

    A name is that of a released model (in `checkpoints/`) or of a run below `runs/`.

    Raises:
        FileNotFoundError: there is none; the message lists the released ones.
    """
    given = Path(name_or_path)
    released = Path(str(resources.files("fst.checkpoints")))
    candidates = [
        given,
        given / "model.safetensors",
        released / f"{name_or_path}.safetensors",
        Path("runs") / given / "model.safetensors",
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(file.stem for file in released.glob("*.safetensors")))
    raise FileNotFoundError(
        f"no model {name_or_path}: neither a file, nor a run folder with a model.safetensors, nor "
        f"a released model ({names or 'none is installed'})"
    )


def describe(network: TransformerNetwork, **fields: Any) -> ModelInfo:
    """Return the `ModelInfo` of a network, with further fields given by name."""
    return ModelInfo(network_name(network), network.arguments, **fields)


def parse_info(text: str, path: Path) -> ModelInfo:
    """Return the `ModelInfo` that the file `path` holds as JSON.

    Raises:
        UserError: it is damaged, or of a newer format.
    """
    try:
        values = json.loads(text)
        version = values["format_version"]
        known = {entry.name for entry in dataclasses.fields(ModelInfo)}
        info = ModelInfo(**{key: value for key, value in values.items() if key in known})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} has damaged metadata: {error}") from error
    if version > FORMAT_VERSION:
        raise UserError(
            f"{path} is of format {version}, and this fst {__version__} knows up to "
            f"{FORMAT_VERSION}: update fst"
        )
    return info


def _read_own(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or no safetensors file: {error}") from error
    if METADATA_KEY not in metadata:
        raise UserError(f"{path} holds tensors, but is no model file of fst: it does not say so")
    return tensors, parse_info(metadata[METADATA_KEY], path)


def _read_foreign(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Read a state dict of the widespread PyTorch port of Johnson's network, as a `johnson`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises UnpicklingError, EOFError, RuntimeError ... on what is no checkpoint
        raise UserError(
            f"{path} is neither a model file of fst (.safetensors) nor a plain state dict"
        ) from error
    if (
        not isinstance(state, dict)
        or not all(isinstance(value, Tensor) for value in state.values())
        or not {f"{name}.conv2d.weight" for name in ("conv1", "deconv1", "deconv3")} <= state.keys()
    ):
        raise UserError(f"{path} is no state dict of a known style transfer network")
    blocks = sum(key.endswith(".conv1.conv2d.weight") for key in state)
    arguments = {
        "width": state["conv1.conv2d.weight"].shape[0],
        "residual_blocks": blocks,
        "norm": "instance",
        "upsample": "nearest",
        "output": "clamp",
    }
    tensors = {}
    for key, value in state.items():
        if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            continue  # kept by old versions of instance norm, never used
        renamed = _FOREIGN_LAYERS.get(key.split(".")[0]) or _residual_name(key)
        tensors[f"{renamed}.{key.rpartition('.')[2]}"] = value
    # They take and return 0-255.
    tensors["down.0.weight"] = tensors["down.0.weight"] * 255
    for kind in ("weight", "bias"):
        tensors[f"up.6.{kind}"] = tensors[f"up.6.{kind}"] / 255
    return tensors, ModelInfo("johnson", arguments, title=path.stem)


_FOREIGN_LAYERS = {
    "conv1": "down.0", "in1": "down.1", "conv2": "down.3", "in2": "down.4",
    "conv3": "down.6", "in3": "down.7", "deconv1": "up.0.1", "in4": "up.1",
    "deconv2": "up.3.1", "in5": "up.4", "deconv3": "up.6",
}  # fmt: skip


def _residual_name(key: str) -> str:
    """Turn `res2.conv1.conv2d.weight` into `residual.1.conv1`."""
    block, part = key.split(".")[:2]
    return f"residual.{int(block.removeprefix('res')) - 1}.{part.replace('in', 'norm')}"
