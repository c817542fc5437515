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

from fst.addresses import refuse_address
from fst.atomic import write_bytes
from fst.config import LARGEST_WIDTH
from fst.errors import UserError, one_line
from fst.models.foreign import read_foreign
from fst.models.model_info import (
    FORMAT_VERSION,
    METADATA_KEY,
    PALETTES_SINCE,
    ModelInfo,
    StyleInfo,
    read_info,
)
from fst.models.model_name import chosen_shares, refuse_style, split_style
from fst.models.released import closest_names, released_names, released_path, verify_released
from fst.models.style_choice import StyleChoice
from fst.networks.registry import (
    UPSCALERS,
    build_network,
    build_upscaler,
    complete_arguments,
    network_name,
)
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler
from fst.weights_file import check_weights

Network: TypeAlias = TransformerNetwork | StyledNetwork | Upscaler
"""What a model file holds."""

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


def load_any(path: str | Path, choice: str = "") -> tuple[TransformerNetwork | Upscaler, ModelInfo]:
    """Return the network of a model file, on the CPU in evaluation mode, and its metadata.

    The weights are fp32, however they are stored. Nothing of the size that the metadata ask for is
    allocated before the file's tensors were found to be of that size.

    Args:
        path: the file.
        choice: for a model of several styles, one of them or a blend: `NAME=SHARE,NAME=SHARE`; for
            one with a predictor, paintings' files as well.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, of a newer format, not a model, has weights that are NaN or
            infinite, or is a released model that does not match its checksum; or the choice is not
            one of its styles.
    """
    network, info, _ = load_chosen(Path(path), choice)
    return network, info


def load_chosen(
    path: Path, choice: str
) -> tuple[TransformerNetwork | Upscaler, ModelInfo, StyleChoice | None]:
    """Return what `load_any` does, and of a model of several styles what the network is folded of.

    Raises:
        UserError: as there.
    """
    network, info = load_network(path)
    if not isinstance(network, StyledNetwork):
        refuse_style(path, choice)
        return network, info, None
    names = [style.name for style in info.styles]
    shares = chosen_shares(path, names, choice, bool(info.predictor_px))
    chosen = StyleChoice(network, names, shares, info.predictor_px, info.palette_share)
    folded = chosen.folded().eval().requires_grad_(False)
    return folded, _of_style(info, shares, choice), chosen


def load_model(path: str | Path, choice: str = "") -> tuple[TransformerNetwork, ModelInfo]:
    """Return what `load_any` does, for a model that stylizes.

    Raises:
        UserError: as there, or it enlarges pictures.
    """
    network, info = load_any(path, choice)
    if isinstance(network, Upscaler):
        raise for_super_resolution(path)
    return network, info


def for_super_resolution(path: str | Path) -> UserError:
    """Return the error for a model that enlarges pictures where one that stylizes is needed."""
    return UserError(f"{path} is a model for super-resolution: use it with fst upscale")


def load_network(path: Path) -> tuple[Network, ModelInfo]:
    """Return what `load_any` does, a model of several styles with all of them."""
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
    if _lacks_palettes(info):
        tensors["palettes"] = network.get_buffer("palettes")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), info


def find_model(name_or_path: str | Path) -> Path:
    """Return the model file for a file, a run folder, or a name.

    A name is that of a run below `runs/` or of a released model; a run of the same name comes
    first (`shadowed_release` says so). What follows a colon is the style (`split_style`).

    Raises:
        FileNotFoundError: there is none; the message lists the closest names.
    """
    refuse_address(str(name_or_path))
    name, _ = split_style(name_or_path)
    given = Path(name)
    candidates = [given, given / "model.safetensors", Path("runs") / given / "model.safetensors"]
    if name in released_names():
        candidates.append(released_path(name))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    hint = "`fst models` lists the released models, `fst train` trains a new one"
    if closest := closest_names(given.name):
        hint = f"did you mean {' or '.join(closest)}? {hint}"
    raise FileNotFoundError(
        f"no model {name}: not a file, not a run folder with a model.safetensors, not a "
        f"released model ({hint})"
    )


def open_model(name_or_path: str | Path) -> tuple[TransformerNetwork, ModelInfo]:
    """Return what `load_model` does for what `find_model` takes, `MODEL:STYLE` among it."""
    return load_model(find_model(name_or_path), split_style(name_or_path)[1])


def open_upscaler(name_or_path: str | Path) -> tuple[Upscaler, ModelInfo]:
    """Return what `load_any` does, for a model that enlarges pictures and `find_model` finds.

    Raises:
        UserError: as there, or it is a model for styles.
    """
    path = find_model(name_or_path)
    network, info = load_network(path)
    if not isinstance(network, Upscaler):
        raise UserError(f"{path} is a model that stylizes: use it with fst stylize")
    refuse_style(path, split_style(name_or_path)[1])
    return network, info


def shadowed_release(name_or_path: str | Path) -> str | None:
    """Return a line to print if `find_model` takes a run that has a released model's name."""
    name, _ = split_style(name_or_path)
    if name not in released_names() or (found := find_model(name)) == released_path(name):
        return None
    return f"{name}: using {found}, not the released model of the same name"


def describe(network: Network, **fields: Any) -> ModelInfo:
    """Return the `ModelInfo` of a network, with further fields given by name."""
    own = network.network if isinstance(network, StyledNetwork) else network
    return ModelInfo(network_name(own), own.arguments, **fields)


def _build(info: ModelInfo, shapes: Shapes) -> Network:
    """Return the network of a file, its codes and mapper as large as there."""
    if info.network in UPSCALERS:
        return build_upscaler(info.network, info.network_arguments)
    arguments = complete_arguments(info.network, info.network_arguments)
    network = build_network(info.network, arguments)
    if not info.has_choice:
        return network
    predicts = bool(info.predictor_px)
    # 0 gives a mapper of the usual size, which is then found to differ from the file's.
    hidden, inputs = (shapes.get(MAPPER, ()) + (0, 0))[:2]
    return StyledNetwork(network, len(info.styles), predicts, max(0, inputs - predicts), hidden)


def _lacks_palettes(info: ModelInfo) -> bool:
    """Return whether a file of several styles is older than palettes: then they are zeros."""
    return info.has_choice and info.format_version < PALETTES_SINCE


def _of_style(info: ModelInfo, shares: Mapping[str, float], choice: str) -> ModelInfo:
    """Return what is known of a style of a model, or of a blend, as of a model of its own."""
    alone = dataclasses.replace(
        info,
        title=choice,
        styles=[],
        losses={},
        card={},
        format_version=1,
        predictor_px=0,
        palette_share=0.0,
    )
    known = {style.name: style for style in info.styles}
    if len(shares) > 1:
        return alone
    (name,) = shares
    style = known.get(name) or StyleInfo(Path(name).stem, picture=name)
    config = info.training_config
    given = config.get("style")
    if isinstance(given, dict):
        config = {**config, "style": {**given, "picture": style.picture}}
    return dataclasses.replace(
        alone,
        title=style.card.get("title", style.name),
        losses=style.losses,
        training_config=config,
        card={**info.card, **style.card} if style.card else {},  # of a learnt style none is known
    )


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
    if _lacks_palettes(info):
        del expected["palettes"]
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
