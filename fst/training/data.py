"""Content photographs, from Hugging Face `datasets` to batches of crops.

The order depends only on the seed and the number of images seen, so a resumed run, or a run on
several processes, sees exactly the crops that an uninterrupted single process would.
"""

import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fst.config import CocoDataConfig, DataConfig, FolderDataConfig, ParquetDataConfig
from fst.errors import UserError
from fst.pictures.formats import is_picture
from fst.pictures.image import (
    PICTURE_SUFFIXES,
    UnreadableImageError,
    files_below,
    open_rgb,
    to_bytes_tensor,
)

MIN_PX = 32
"""Pictures with a shorter side below this are skipped."""
_ATTEMPTS = 100

Skipped: TypeAlias = list[tuple[str, str]]
"""Pictures that were skipped: name and reason."""
Crop: TypeAlias = tuple[Tensor | None, Skipped]
"""uint8 (3, S, S), or None where nothing could be read; and the pictures skipped for it."""
Batch: TypeAlias = tuple[Tensor, Skipped]
"""uint8 (N, 3, S, S), and the pictures skipped for it."""


@dataclass
class Data:
    """The pictures of a run."""

    train: "ContentDataset"
    heldout: Tensor
    """Held-out pictures, uint8 (N, 3, P, P), never trained on; N may be 0."""
    summary: str
    """A line with the number of pictures and of skipped files."""
    fingerprint: str
    """Identifies the pictures, so that a resumed run notices when they change."""


@dataclass
class Source:
    """Encoded pictures by index."""

    rows: Any
    """A `datasets.Dataset`, its pictures not yet decoded."""
    column: str = "image"
    other_files: list[str] = field(default_factory=list)
    """Names of files that are not pictures."""

    def __len__(self) -> int:
        return len(self.rows)

    def open(self, index: int) -> Image.Image:
        """Decode a picture.

        Raises:
            UnreadableImageError: it cannot be decoded or is too small to train on.
        """
        image = self.rows[index][self.column] or {"bytes": None, "path": None}
        if not (image["bytes"] or image["path"]):
            raise UnreadableImageError("is empty")
        try:
            picture = open_rgb(image["bytes"] or image["path"])
        except FileNotFoundError as error:
            raise UnreadableImageError("no longer exists") from error
        if min(picture.size) < MIN_PX:
            raise UnreadableImageError(f"is too small, {picture.width}x{picture.height}")
        return picture

    def name(self, index: int) -> str:
        """Return the name of a picture in messages."""
        image = self.rows[index][self.column]
        return (image and image["path"]) or f"picture {index}"

    def fingerprint(self, folder: str) -> str:
        """Return a hash of the pictures' names in a folder, not of their contents."""
        chunks = self.rows.data.column(self.column).chunks
        names = [name for chunk in chunks for name in chunk.field("path").to_pylist()]
        names = [name and os.path.relpath(name, folder) for name in names]
        return hashlib.sha256(repr(names).encode("utf-8", "replace")).hexdigest()[:16]


class ContentDataset(Dataset[Crop]):
    """Random crops by position, the number of images seen before: 0, 1, 2 ... without end.

    Each pass over the pictures has its own order. An unreadable picture is replaced by another one,
    which depends only on the position, and reported.
    """

    def __init__(
        self, source: Source, indices: np.ndarray, crop_px: int, min_crop_scale: float, seed: int
    ) -> None:
        self.source = source
        self.indices = indices
        self.crop_px = crop_px
        self.min_crop_scale = min_crop_scale
        self.seed = seed
        self.order: tuple[int, np.ndarray] = (-1, indices)

    def __getitem__(self, position: int) -> Crop:
        """Return a crop and the pictures skipped for it; after a hundred the crop is None."""
        random = np.random.default_rng((self.seed, 1, position))
        index = self.index_at(position)
        skipped: Skipped = []
        while len(skipped) < _ATTEMPTS:
            try:
                return self.crop(self.source.open(index), random), skipped
            except UnreadableImageError as error:
                skipped.append((self.source.name(index), str(error)))
                index = int(random.choice(self.indices))
        return None, skipped

    def index_at(self, position: int) -> int:
        """Return the index of the picture at a position."""
        epoch, offset = divmod(position, len(self.indices))
        if self.order[0] != epoch:
            random = np.random.default_rng((self.seed, 0, epoch))
            self.order = (epoch, random.permutation(self.indices))
        return int(self.order[1][offset])

    def crop(self, picture: Image.Image, random: np.random.Generator) -> Tensor:
        """Cut a random square, scale it to `crop_px`, and mirror half of them."""
        side = min(picture.size) * random.uniform(self.min_crop_scale, 1)
        left, top = (random.uniform(0, length - side) for length in picture.size)
        square = picture.resize(
            (self.crop_px, self.crop_px),
            Image.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
        pixels = to_bytes_tensor(square)
        return pixels.flip(2) if random.random() < 0.5 else pixels


def open_data(config: DataConfig, seed: int, leave_out: Sequence[Path] = ()) -> Data:
    """Find the pictures, and hold some out that are not trained on.

    Without `heldout_path` these are drawn from the pictures themselves, at most half of them.

    Args:
        config: where the pictures are.
        seed: selects the held-out pictures, and the order of the others.
        leave_out: folders below the folder of pictures that are skipped.

    Raises:
        FileNotFoundError: there are no pictures.
        UserError: a parquet file has no such column.
    """
    if config.heldout_path is not None:
        leave_out = [*leave_out, Path(config.heldout_path)]
    source = SOURCES[type(config)](config, leave_out)
    if not len(source):
        raise FileNotFoundError(f"data.path={config.path} holds no pictures")
    order = np.random.default_rng((seed, 2)).permutation(len(source))
    if config.heldout_path is None:
        candidates = order[: len(order) // 2]
        judged_by, used, unusable = _take(
            source, candidates, config.heldout_images, config.heldout_px
        )
        order = np.setdiff1d(order, candidates[:used])
    else:
        judged_by, unusable = squared_pictures(
            config.heldout_path, config.heldout_images, config.heldout_px
        )
    summary = f"{len(order)} photographs to train on, {len(judged_by)} held out"
    if source.other_files:
        few = ", ".join(source.other_files[:3])
        more = " ..." if len(source.other_files) > 3 else ""
        summary += f"; {len(source.other_files)} other files skipped ({few}{more})"
    for name, reason in unusable:
        summary += f"; not held out: {name} ({reason})"
    crop_px = config.crop_px + 2 * config.margin_px
    train = ContentDataset(source, np.sort(order), crop_px, config.min_crop_scale, seed)
    fingerprint = (
        f"{source.fingerprint(config.path)} {hashlib.sha256(train.indices.tobytes()).hexdigest()}"
    )
    return Data(train, judged_by, summary, fingerprint)


def content_batches(
    dataset: ContentDataset,
    batch_size: int,
    start: int,
    end: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yield this process's equal share of each batch from position `start` until `end` is reached.

    Args:
        dataset: the crops.
        batch_size: images in a batch, over all processes; a multiple of `world_size`.
        start: images seen before.
        end: images to see in total; the last batch is a full one and may exceed it.
        rank: this process among `world_size`.
        world_size: how many processes share a batch.
        workers: processes that decode.
        pin_memory: speeds up copies to a GPU.

    Raises:
        UserError: a hundred pictures in a row are unreadable.
    """
    share = batch_size // world_size
    batches = [
        list(range(first + rank * share, first + (rank + 1) * share))
        for first in range(start, end, batch_size)
    ]
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=min(workers, len(batches)),
        collate_fn=_collate,
        worker_init_fn=_outlive_signals,
        pin_memory=pin_memory,
        prefetch_factor=4 if workers and batches else None,
    )
    for images, skipped in loader:
        if images is None:
            name, reason = skipped[-1]
            raise UserError(
                f"{_ATTEMPTS} pictures in a row are unusable, the last one {name}: {reason}"
            )
        yield images, skipped


def _collate(crops: list[Crop]) -> Crop:
    images = [crop for crop, _ in crops if crop is not None]
    skipped = [s for _, skipped in crops for s in skipped]
    return (torch.stack(images) if len(images) == len(crops) else None), skipped


def _outlive_signals(_: int) -> None:
    # Ctrl-C, and SIGTERM from a scheduler, reach the workers too, but the main process still needs
    # them while it saves, and ends them itself. If that fails, a second SIGTERM ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


def squared_pictures(folder: str | Path, count: int, side_px: int) -> tuple[Tensor, Skipped]:
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
    source = _open_folder(FolderDataConfig(path=str(folder)))
    pictures, _, unusable = _take(source, np.arange(len(source)), count, side_px)
    if count and not len(pictures):
        raise FileNotFoundError(f"{folder} holds no pictures")
    return pictures, unusable


def heldout_of(training_config: dict[str, Any], count: int, side_px: int) -> tuple[Tensor, Skipped]:
    """Return pictures that a model was not trained on, as `squared_pictures` does.

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
        return squared_pictures(local(heldout_path), count, side_px)
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
    return open_data(config, seed, leave_out=[Path(runs_dir)]).heldout, []


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


def _open_folder(config: FolderDataConfig, leave_out: Sequence[Path] = ()) -> Source:
    import datasets

    pictures, others = [], []
    for file in files_below(Path(config.path), leave_out):
        name = str(file)
        # By its name, so that a damaged picture is counted as unusable, or by its content.
        if name.isprintable() and (file.suffix.lower() in PICTURE_SUFFIXES or is_picture(file)):
            pictures.append(name)
        else:
            others.append(ascii(file.name)[1:-1])
    rows = datasets.Dataset.from_dict(
        {"image": pictures}, features=datasets.Features({"image": datasets.Value("string")})
    )
    return Source(rows.cast_column("image", datasets.Image(decode=False)), other_files=others)


def _open_parquet(config: ParquetDataConfig, _: Sequence[Path] = ()) -> Source:
    path = Path(config.path)
    found = path.rglob("*.parquet") if path.is_dir() else path.parent.glob(path.name)
    files = sorted(map(str, found))
    if not files:
        raise FileNotFoundError(f"data.path={config.path} holds no parquet files")
    return _load(config.image_column, "parquet", data_files=files)


def _open_coco(config: CocoDataConfig, _: Sequence[Path] = ()) -> Source:
    try:
        return _load(config.image_column, config.path, data_files={"train": config.files})
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{config.path} cannot be loaded from the Hugging Face Hub ({error}). Without a "
            "connection, use data=folder data.path=DIR with any folder of photographs, or name a "
            "mirror in HF_ENDPOINT"
        ) from error


def _load(image_column: str, path: str, **arguments: Any) -> Source:
    import datasets

    rows = datasets.load_dataset(path, split="train", **arguments)
    if image_column not in rows.column_names:
        raise UserError(
            f"data.image_column={image_column} is not a column of {path}: it has "
            f"{', '.join(rows.column_names)}"
        )
    rows = rows.select_columns([image_column])
    return Source(rows.cast_column(image_column, datasets.Image(decode=False)), image_column)


SOURCES: dict[type[DataConfig], Callable[[Any, Sequence[Path]], Source]] = {
    FolderDataConfig: _open_folder,
    ParquetDataConfig: _open_parquet,
    CocoDataConfig: _open_coco,
}
"""The function that finds the pictures of each kind of configuration."""
