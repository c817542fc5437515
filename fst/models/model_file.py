"""The model file: the network's weights with all that is needed to use and to judge them.

A safetensors file with JSON in its metadata: it is loaded without executing anything. State dicts
of the widespread PyTorch ports of Johnson's network load as well (`fst.models.foreign`).
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file, save
from torch import nn

from fst.atomic import write_bytes
from fst.config import LARGEST_WIDTH
from fst.errors import UserError, one_line
from fst.models.foreign import read_foreign
from fst.models.model import Model, Network
from fst.models.model_info import (
    FORMAT_VERSION,
    METADATA_KEY,
    ModelInfo,
    read_info,
)
from fst.models.model_ref import ModelRef
from fst.models.released import verify_released
from fst.networks.registry import (
    UPSCALERS,
    build_network,
    build_upscaler,
    network_name,
)
from fst.networks.styled import StyledNetwork
from fst.weights_file import check_weights

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Those of a file's tensors, by name."""
MAPPER = "mapper.0.weight"
"""The tensor whose shape tells the sizes of a network of several styles."""


def save_model(path: str | Path, network: nn.Module, info: ModelInfo) -> None:
    """Write the network's weights and `info` as one safetensors file, atomically."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    version = FORMAT_VERSION if isinstance(network, StyledNetwork) else 1
    fields = dataclasses.asdict(info) | {"format_version": version}
    metadata = {METADATA_KEY: json.dumps(fields, sort_keys=True)}
    write_bytes(Path(path), save(tensors, metadata))


def open_model(ref: ModelRef) -> Model:
    """Return the model that is named, in the style that is chosen.

    Raises:
        FileNotFoundError: as `read_model`.
        UserError: as `read_model` and `Model.in_style`.
    """
    return read_model(ref.path).in_style(ref.choice, ref.note)


def read_model(path: str | Path) -> Model:
    """Return the model of a file, with all of its styles.

    The weights are fp32, however they are stored. Nothing of the size that the metadata ask for is
    allocated before the file's tensors were found to be of that size.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, of a newer format, not a model, has weights that are NaN or
            infinite, or is a released model that does not match its checksum.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}")
    if path.suffix == ".safetensors":
        verify_released(path)
        info, shapes = read_info(path)
        _check_shapes(path, info, shapes)
        tensors = load_file(path)
    else:
        tensors, info = read_foreign(path)
        shapes = {name: tuple(value.shape) for name, value in tensors.items()}
        _check_shapes(path, info, shapes)
    check_weights(tensors, path)
    network = _build(info, shapes)
    network.load_state_dict(tensors)
    return Model(path, network.eval().requires_grad_(False), info)


def describe(network: Network, **fields: Any) -> ModelInfo:
    """Return the `ModelInfo` of a network, with further fields given by name."""
    own = network.network if isinstance(network, StyledNetwork) else network
    return ModelInfo(network_name(own), own.arguments, **fields)


def _build(info: ModelInfo, shapes: Shapes) -> Network:
    """Return the network of a file, its codes and mapper as large as there."""
    if info.network in UPSCALERS:
        return build_upscaler(info.network, info.network_arguments)
    network = build_network(info.network, info.network_arguments)
    if not info.has_choice:
        return network
    predicts = bool(info.predictor_px)
    # 0 gives a mapper of the usual size, which is then found to differ from the file's.
    hidden, inputs = (shapes.get(MAPPER, ()) + (0, 0))[:2]
    return StyledNetwork(network, len(info.styles), predicts, max(0, inputs - predicts), hidden)


def _check_shapes(path: Path, info: ModelInfo, shapes: Shapes) -> None:
    """Raise UserError unless the file's tensors are those of the network that it names."""
    for name, value in info.network_arguments.items():
        # Every block has tensors of its own, so there are more tensors than blocks.
        least, most = (0, len(shapes)) if name.endswith("blocks") else (1, LARGEST_WIDTH)
        if isinstance(value, int | float) and not least <= value <= most:
            raise UserError(f"{path} does not fit the network it names: {name}={value}")
    try:
        with torch.device("meta"):  # shapes alone
            expected = _build(info, shapes).state_dict()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = f"{info.network} cannot be built with its arguments: {one_line(error)}"
        raise UserError(f"{path} does not fit the network it names: {reason}") from error
    wanted = {name: tuple(value.shape) for name, value in expected.items()}
    differing = sorted(
        name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name)
    )
    if differing:
        name = differing[0]
        found, needed = (f"has {s[name]}" if name in s else "lacks it" for s in (shapes, wanted))
        raise UserError(
            f"{path} does not fit the network it names: {len(differing)} tensors differ, such as "
            f"{name} (the file {found}, the network {needed})"
        )
    # A model with a predictor may have no styles yet.
    may_be_empty = {"codes", "residuals", "palettes"} if info.predictor_px else set()
    if any(0 in shape for name, shape in shapes.items() if name not in may_be_empty):
        raise UserError(f"{path} does not fit the network it names: it has empty tensors")
