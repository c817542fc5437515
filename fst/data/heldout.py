"""Photographs to judge a model by, cut to central squares, that it was not trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fst.config import FolderDataConfig
from fst.data.sources import Skipped, Source, open_source
from fst.errors import UserError
from fst.pictures.image import UnreadableImageError, to_bytes_tensor
from fst.streams import Stream


def read_squares(folder: str | Path, count: int, side_px: int) -> tuple[Tensor, Skipped]:
    """Return the first pictures of a folder, cropped to a central square, for evaluation.

    Args:
        folder: pictures at any depth, in the order of their names.
        count: the maximum number.
        side_px: their side after scaling.

    Returns:
        uint8 (N, 3, `side_px`, `side_px`), and the unreadable pictures among them.

    Raises:
        FileNotFoundError: the folder does not exist or holds no pictures.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    source = open_source(FolderDataConfig(path=str(folder)))
    pictures, _, unusable = _take(source, np.arange(len(source)), count, side_px)
    if count and not len(pictures):
        raise FileNotFoundError(f"{folder} holds no pictures")
    return pictures, unusable


def hold_out(
    source: Source, seed: int, count: int, side_px: int
) -> tuple[Tensor, np.ndarray, Skipped]:
    """Draw pictures that are not trained on, at most half of a source's.

    Args:
        source: the pictures.
        seed: selects them.
        count: the maximum number.
        side_px: their side after cropping to a central square and scaling.

    Returns:
        uint8 (N, 3, `side_px`, `side_px`), the indices of the other pictures, and the unreadable
        ones that were drawn.
    """
    order = Stream.HELDOUT.random(seed).permutation(len(source))
    candidates = order[: len(order) // 2]
    pictures, used, unusable = _take(source, candidates, count, side_px)
    return pictures, np.setdiff1d(order, candidates[:used]), unusable


def heldout_of(training_config: dict[str, Any], count: int, side_px: int) -> tuple[Tensor, Skipped]:
    """Return pictures that a model was not trained on, as `read_squares` does.

    The configuration comes from a model file, which anyone may have written: it can name folders
    of this machine, and nothing that `datasets` would download or run.

    Args:
        training_config: the training configuration in the model file.
        count: the maximum number; never more than the training held out of its own pictures.
        side_px: their side after scaling.

    Raises:
        FileNotFoundError: the pictures no longer exist.
        UserError: the file does not name local folders of pictures.
    """
    if not training_config:
        raise UserError("its file does not say what it was trained on")
    data, seed = training_config.get("data"), training_config.get("seed")
    given = data if isinstance(data, dict) else {}
    path, heldout_path = given.get("path"), given.get("heldout_path")
    held_out, runs_dir = given.get("heldout_images"), training_config.get("runs_dir")
    if isinstance(heldout_path, str):
        return read_squares(local(heldout_path), count, side_px)
    if given.get("kind") in ("parquet", "coco"):
        raise UserError(
            f"it was trained on data={given['kind']}, and only folders that a model file names are "
            "read"
        )
    if not (
        (given.get("kind"), heldout_path) == ("folder", None)
        and isinstance(path, str)
        and isinstance(runs_dir, str)
        and type(held_out) is type(seed) is int
        and seed >= 0
    ):
        raise UserError("its file describes its training in an unknown way")
    config = FolderDataConfig(
        path=local(path), heldout_images=min(count, held_out), heldout_px=side_px
    )
    source = open_source(config, leave_out=[Path(runs_dir)])
    pictures, *_ = hold_out(source, seed, config.heldout_images, config.heldout_px)
    return pictures, []


def local(path: str) -> str:
    """Return a path that a model file names; raise UserError if it leads to another machine."""
    if path.startswith(("//", "\\\\")):  # Windows would log in there
        raise UserError(f"its file names {path}, which is not a folder of this machine")
    return path


def _take(
    source: Source, candidates: np.ndarray, count: int, side: int
) -> tuple[Tensor, int, Skipped]:
    """Return the first readable pictures, squared; how many candidates were tried; the rest."""
    taken: list[Tensor] = []
    unusable: Skipped = []
    used = 0
    for index in candidates.tolist():
        if len(taken) == count:
            break
        used += 1
        try:
            picture = source.open(index)
        except UnreadableImageError as error:
            unusable.append((source.name(index), str(error)))
            continue
        square = min(picture.size)
        left, top = ((length - square) / 2 for length in picture.size)
        box = (left, top, left + square, top + square)
        taken.append(
            to_bytes_tensor(picture.resize((side, side), Image.Resampling.BICUBIC, box=box))
        )
    empty = torch.empty(0, 3, side, side, dtype=torch.uint8)
    return torch.stack(taken) if taken else empty, used, unusable
