"""What a model file says about its network, and the validation of it: files come from anywhere."""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fst import __version__
from fst.config import PREDICTOR_PX
from fst.errors import UserError, one_line

FORMAT_VERSION = 3
"""The newest: 3 has several styles with palettes. Models of one style are still version 1."""
METADATA_KEY = "fst"


@dataclass
class StyleInfo:
    """One of the styles of a model that has several."""

    name: str
    """What it is chosen by, `MODEL:NAME`."""
    picture: str = ""
    """The file it was trained on."""
    losses: dict[str, float] = field(default_factory=dict)
    """The last held-out losses, by name."""
    card: dict[str, str] = field(default_factory=dict)
    """For released models: title, artist, year and rights of the painting."""


@dataclass
class ModelInfo:
    """The metadata of a model file."""

    network: str
    """The network's name in `fst.networks.registry`."""
    network_arguments: dict[str, Any]
    title: str = ""
    """The style's title, or the run's name."""
    seen_images: int = 0
    """Number of images it was trained on."""
    losses: dict[str, float] = field(default_factory=dict)
    """The last held-out losses, by name."""
    loss_network: str = ""
    """The network that the loss was computed with."""
    training_config: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    fst_version: str = __version__
    format_version: int = 1
    card: dict[str, str] = field(default_factory=dict)
    """For released models: artist, year and rights of the painting, and a note on the model."""
    styles: list[StyleInfo] = field(default_factory=list)
    """The styles of a model that has several, in the order of their numbers; else empty."""
    predictor_px: int = 0
    """Shorter side of a painting as its predictor sees it, 64 to 1024, which makes a style of any
    painting; 0 where there is no predictor."""
    palette_share: float = 0.0
    """How far the colours of a style that is predicted or learnt are moved towards the painting's,
    0 to 1."""

    @property
    def has_choice(self) -> bool:
        """Whether a style must be chosen: one of several, or any painting."""
        return bool(self.styles or self.predictor_px)


def parse_info(text: str, path: Path) -> ModelInfo:
    """Return the `ModelInfo` that the file `path` holds as JSON.

    Every value has its declared type afterwards, and no text holds control characters.

    Raises:
        UserError: the metadata is damaged, or of a newer format.
    """
    # First, as a newer format may have other types.
    version = parse_fields(text, {"format_version": is_count}, path).get("format_version")
    if version is not None and version > FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {version}, but fst {__version__} reads versions up to "
            f"{FORMAT_VERSION}: update fst"
        )
    values = parse_fields(text, _TYPES, path)
    if not {"format_version", "network", "network_arguments"} <= values.keys():
        raise about_damage(path, "format_version, network or network_arguments is missing")
    styles = [_parse_style(style, path) for style in values.get("styles", [])]
    if len({style.name for style in styles}) < len(styles):
        raise about_damage(path, "two styles have one name")
    return ModelInfo(**{**values, "styles": styles})


def _parse_style(values: dict[str, Any], path: Path) -> StyleInfo:
    checked = check_fields(values, _STYLE_TYPES, path)
    if not re.fullmatch("[^:=,]+", checked.get("name", "")):
        raise about_damage(path, "a style has no name, or one with : = or , in it")
    return StyleInfo(**checked)


def read_info(path: Path) -> tuple[ModelInfo, dict[str, tuple[int, ...]]]:
    """Return what a .safetensors model says, and its tensors' shapes, without reading tensors.

    Raises:
        UserError: the file is damaged, of a newer format, or not a model.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or not a safetensors file: {error}") from error
    if METADATA_KEY not in metadata:
        raise UserError(f"{path} holds tensors, but is not a model written by fst")
    return parse_info(metadata[METADATA_KEY], path), shapes


Check = Callable[[Any], bool]


def parse_fields(text: str, types: dict[str, Check], path: Path) -> dict[str, Any]:
    """Return those values of a JSON object that `types` names, each of which must pass its check.

    Raises:
        UserError: it is not a JSON object, or a value has the wrong type.
    """
    try:
        values = _printable(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise about_damage(path, one_line(error)) from error
    if not isinstance(values, dict):
        raise about_damage(path, "not a JSON object")
    return check_fields(values, types, path)


def check_fields(values: dict[str, Any], types: dict[str, Check], path: Path) -> dict[str, Any]:
    """Return those values that `types` names; raise UserError unless each passes its check."""
    for name, check in types.items():
        if name in values and not check(values[name]):
            raise about_damage(path, f"{name} has the wrong type")
    return {name: values[name] for name in types if name in values}


def about_damage(path: Path, reason: str) -> UserError:
    """Return the error for metadata that cannot be used."""
    return UserError(f"{path} has damaged metadata: {reason}")


def is_count(value: Any) -> bool:
    """Say whether a value is a whole number of moderate size, zero or more."""
    return type(value) is int and 0 <= value < 2**53


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 2**53)


def _dict_of(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


_TYPES: dict[str, Check] = {
    "network": _is_text,
    "network_arguments": _dict_of(lambda value: isinstance(value, str | int | float | None)),
    "title": _is_text,
    "seen_images": is_count,
    "losses": _dict_of(_is_number),
    "loss_network": _is_text,
    "training_config": _dict_of(lambda value: True),
    "licence": _is_text,
    "fst_version": _is_text,
    "format_version": is_count,
    "card": _dict_of(_is_text),
    "predictor_px": lambda value: (
        is_count(value) and (value == 0 or PREDICTOR_PX[0] <= value <= PREDICTOR_PX[1])
    ),
    "palette_share": lambda value: _is_number(value) and 0 <= value <= 1,
    "styles": lambda value: isinstance(value, list) and all(isinstance(v, dict) for v in value),
}
_STYLE_TYPES: dict[str, Check] = {
    "name": _is_text,
    "picture": _is_text,
    "losses": _dict_of(_is_number),
    "card": _dict_of(_is_text),
}
assert _STYLE_TYPES.keys() == {entry.name for entry in dataclasses.fields(StyleInfo)}
assert _TYPES.keys() == {entry.name for entry in dataclasses.fields(ModelInfo)}


def _printable(value: Any) -> Any:
    """Replace control characters in all texts: printed, they would control the user's terminal."""
    if isinstance(value, str):
        # Cc: control characters, escapes among them; Cf: invisible, such as reversed direction;
        # Cs: halves of characters, which cannot be printed.
        kinds = map(unicodedata.category, value)
        return "".join(
            "\N{REPLACEMENT CHARACTER}" if kind in ("Cc", "Cf", "Cs") else letter
            for letter, kind in zip(value, kinds, strict=True)
        )
    if isinstance(value, dict):
        return {_printable(key): _printable(entry) for key, entry in value.items()}
    return [_printable(entry) for entry in value] if isinstance(value, list) else value
