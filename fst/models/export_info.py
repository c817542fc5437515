"""What an exported file says about itself, and reading it without running anything in the file."""

import dataclasses
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fst.errors import UserError, one_line
from fst.models.model_info import (
    METADATA_KEY,
    Check,
    ModelInfo,
    about_damage,
    is_count,
    parse_fields,
    parse_info,
)
from fst.weights_file import refuse_zip_bombs

EXPORT_KEY = "fst_export"


@dataclass
class ExportInfo:
    """How a file was exported."""

    precision: str
    """`fp32`, `fp16` or `bf16`: what the network computes in."""
    device: str = "any"
    """The kind of device that it was compiled for."""
    uint8: bool = False
    """Bytes (N, H, W, 3) in and out, instead of floats (N, 3, H, W)."""
    size: tuple[int, int] | None = None
    """The only height and width it takes, in pixels; None takes any."""
    opset: int | None = None
    """The version of ONNX's operators."""
    range_max: int = 1
    """The value of white where floats go in and out: 1 or 255."""
    blend: bool = False
    """The shares of the styles are a second input, (N, K)."""


def export_metadata(info: ModelInfo, export: ExportInfo) -> dict[str, str]:
    """Return what an exported file says about itself, as names and texts."""
    return {
        METADATA_KEY: json.dumps(dataclasses.asdict(info), sort_keys=True),
        EXPORT_KEY: json.dumps(dataclasses.asdict(export), sort_keys=True),
    }


def parse_metadata(found: dict[str, str], path: Path, what: str) -> tuple[ModelInfo, ExportInfo]:
    """Return what `export_metadata` wrote.

    Args:
        found: names and texts of the file's metadata.
        path: the file, for messages.
        what: what it is, for messages: "an ONNX model".

    Raises:
        UserError: the metadata is damaged, or `fst export` did not write the file.
    """
    if not all(isinstance(found.get(key), str) for key in (METADATA_KEY, EXPORT_KEY)):
        raise UserError(f"{path} is {what}, but not one that `fst export` wrote")
    values = parse_fields(found[EXPORT_KEY], _TYPES, path)
    if "precision" not in values:
        raise about_damage(path, "precision is missing")
    if values.get("size"):
        values["size"] = tuple(values["size"])
    return parse_info(found[METADATA_KEY], path), ExportInfo(**values)


def read_package(path: Path) -> tuple[ModelInfo, ExportInfo]:
    """Return what a .pt2 package says about itself; its machine code is not loaded.

    Raises:
        UserError: it is damaged, or `fst export` did not write it.
    """
    refuse_zip_bombs(path)
    try:
        with zipfile.ZipFile(path) as package:
            if (broken := package.testzip()) is not None:
                raise UserError(f"{path} is damaged: the content of {broken} has changed")
            names = [name for name in package.namelist() if name.endswith("wrapper_metadata.json")]
            found = json.loads(package.read(names[0])) if names else {}
    except UserError:
        raise
    except Exception as error:
        # zipfile raises BadZipFile, NotImplementedError, RuntimeError, struct.error, zlib.error ...
        raise UserError(f"{path} is damaged or not a .pt2 package: {one_line(error)}") from error
    if not isinstance(found, dict):
        raise about_damage(path, "not a JSON object")
    return parse_metadata(found, path, "a .pt2 package")


_TYPES: dict[str, Check] = {
    "precision": lambda value: value in ("fp32", "fp16", "bf16"),
    "device": lambda value: isinstance(value, str),
    "uint8": lambda value: isinstance(value, bool),
    "size": lambda value: (
        value is None
        or (isinstance(value, list) and len(value) == 2 and all(is_count(v) and v for v in value))
    ),
    "opset": lambda value: value is None or is_count(value),
    "range_max": lambda value: value in (1, 255),
    "blend": lambda value: isinstance(value, bool),
}
