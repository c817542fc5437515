"""Files of weights from anywhere: nothing in them is run, and no more unpacked than they hold."""

import errno
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fst.errors import UserError, one_line

_WRAPPERS = ("module", "_orig_mod")
"""What DataParallel and torch.compile put into the names of the tensors."""
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def read_weights(path: Path, anchor: str) -> dict[str, Tensor]:
    """Return a network's tensors by name, on the CPU, all of them dense, of finite floats.

    Checkpoints of trainings hold the network beside other things, as `state_dict` or `model`, and
    wrappers such as DataParallel prefix its names: the network is where `anchor` is.

    Args:
        path: a .safetensors file, or what `torch.save` wrote.
        anchor: the name of one of the network's tensors, which begins and ends no other name.

    Raises:
        OSError: it cannot be read.
        UserError: it is not such a file, is damaged, or holds none or several of such networks.
    """
    require_regular(path)
    try:
        if path.suffix == ".safetensors":
            content = load_file(path)
        else:
            if zipfile.is_zipfile(path):
                refuse_zip_bombs(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except SafetensorError as error:
        raise UserError(f"cannot read weights from {path}: {one_line(error)}") from error
    except Exception as error:
        # torch.load raises UnpicklingError, EOFError, RuntimeError ... on what is not a checkpoint,
        # and seeks where damage leads it, perhaps before the file's beginning.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise UserError(
            f"{path} is not a weights file: neither .safetensors nor a plain state dict of torch"
        ) from error
    named = _name_tensors(content)
    places = sorted({name[: -len(anchor)] for name in named if f".{name}".endswith(f".{anchor}")})
    if len(places) > 1:
        held = " and ".join(place.rstrip(".") or "the file itself" for place in places[:2])
        raise UserError(f"{path} holds several networks, in {held}: save the one to use alone")
    place = places[0] if places else ""
    tensors = {name[len(place) :]: each for name, each in named.items() if name.startswith(place)}
    check_weights(tensors, path)
    return tensors


def check_weights(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise UserError unless all tensors are dense, and their values finite floats.

    Single integers may be among them: the number of batches that a norm has seen.
    """
    for name, value in tensors.items():
        if value.ndim == 0 and not value.is_floating_point():
            continue
        ordinary = value.layout == torch.strided and value.device.type == "cpu"
        # A view can claim many times what is stored: it would be made real when it is used.
        if (
            not (ordinary and value.dtype in _DTYPES)
            or value.untyped_storage().nbytes() < value.numel() * value.element_size()
        ):
            raise UserError(f"{path} is damaged: {name!r} is not a dense tensor of floats")
        if not value.isfinite().all():
            raise UserError(f"{path} is damaged: {name} holds values that are not finite numbers")


def require_regular(path: Path) -> None:
    """Raise UserError for a pipe, a device or a folder: reading a pipe would wait forever."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a regular file")


def refuse_zip_bombs(path: Path) -> None:
    """Raise UserError if a zip archive holds more than its own size; torch never compresses."""
    require_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    if claimed > path.stat().st_size:
        raise UserError(
            f"{path} is not a file that torch wrote: it would unpack to {claimed} bytes"
        )


def _name_tensors(content: Any) -> dict[str, Tensor]:
    """Return the tensors in dicts of dicts, by the names on the way joined with dots."""
    tensors: dict[str, Tensor] = {}
    waiting, seen = [("", content)], {id(content)}
    while waiting:
        place, here = waiting.pop()
        for key, value in here.items() if isinstance(here, dict) else ():
            parts = f"{place}.{key}".removeprefix(".").split(".")
            name = ".".join(part for part in parts if part not in _WRAPPERS)
            if isinstance(value, Tensor):
                tensors[name] = value
            elif isinstance(value, dict) and id(value) not in seen:  # a dict may hold itself
                seen.add(id(value))
                waiting.append((name, value))
    return tensors
