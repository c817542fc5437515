"""Where photographs come from: folders, parquet files, and the Hugging Face Hub."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from fst.config import CocoDataConfig, DataConfig, FolderDataConfig, ParquetDataConfig
from fst.errors import UserError
from fst.pictures.formats import is_picture
from fst.pictures.image import PICTURE_SUFFIXES, UnreadableImageError, files_below, open_rgb

MIN_PX = 32
"""Pictures with a shorter side below this are skipped."""
MOST_UNUSABLE = 100
"""As many unusable pictures in a row are a disk that is gone, not damaged pictures."""
UNFINISHED = ".unfinished"
"""A file in a folder that `fst prepare` has not completed."""

Skipped: TypeAlias = list[tuple[str, str]]
"""Pictures that were skipped: name and reason."""


@dataclass
class Source:
    """Encoded pictures by index."""

    rows: Any
    """A `datasets.Dataset`, its pictures not yet decoded."""
    column: str = "image"
    other_files: list[str] = field(default_factory=list)
    """Names of files that are not pictures."""
    root: str | None = None
    """The folder that the pictures' names lie in, for files."""

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

    def encoded(self, index: int) -> bytes:
        """Return a picture as its file holds it."""
        image = self.rows[index][self.column]
        return image["bytes"] or Path(image["path"]).read_bytes()

    def name(self, index: int) -> str:
        """Return the name of a picture in messages: a file's path."""
        image = self.rows[index][self.column]
        return (image and image["path"]) or f"picture {index}"

    def name_below_root(self, index: int) -> str:
        """Return the name of a picture without the folder that all lie in."""
        return self._below_root(self.name(index))

    def fingerprint(self) -> str:
        """Return a hash of the pictures' names below `root`, not of their contents."""
        chunks = self.rows.data.column(self.column).chunks
        names = [name for chunk in chunks for name in chunk.field("path").to_pylist()]
        names = [name and self._below_root(name) for name in names]
        return hashlib.sha256(repr(names).encode("utf-8", "replace")).hexdigest()[:16]

    def _below_root(self, name: str) -> str:
        return name if self.root is None else os.path.relpath(name, self.root)


def open_source(config: DataConfig, leave_out: Sequence[Path] = ()) -> Source:
    """Find the pictures.

    Args:
        config: where they are.
        leave_out: folders below a folder of pictures that are skipped.

    Raises:
        FileNotFoundError: there are none.
        UserError: a parquet file has no such column, or holds only a part of what it should.
    """
    source = _OPENERS[type(config)](config, leave_out)
    if not len(source):
        raise FileNotFoundError(f"{config.path} holds no pictures")
    return source


def describe_source(source: str, image_column: str, files: str) -> DataConfig:
    """Return the configuration of a source by what its name stands for.

    Args:
        source: a folder of pictures or of parquet files, a pattern of parquet files, or `coco`.
        image_column: the column of parquet files that holds the pictures.
        files: which files of COCO.

    Raises:
        UserError: it is nothing of these.
    """
    path = Path(source)
    if path.is_dir():
        if _parquet_files(path):
            return ParquetDataConfig(path=source, image_column=image_column)
        return FolderDataConfig(path=source)
    if path.suffix == ".parquet":
        return ParquetDataConfig(path=source, image_column=image_column)
    if source == "coco":
        return CocoDataConfig(files=files, image_column=image_column)
    raise UserError(f"{source} is not a folder, a .parquet file or pattern, or the word coco")


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
    rows = rows.cast_column("image", datasets.Image(decode=False))
    return Source(rows, other_files=others, root=config.path)


def _open_parquet(config: ParquetDataConfig, _: Sequence[Path] = ()) -> Source:
    path = Path(config.path)
    files = _parquet_files(path)
    if not files:
        raise FileNotFoundError(f"{config.path} holds no parquet files")
    for folder in {file.parent for file in files}:
        if (folder / UNFINISHED).exists():
            raise UserError(f"{folder} is not complete: run its `fst prepare` command again")
    return _load(config.image_column, "parquet", data_files=[str(file) for file in files])


def _parquet_files(path: Path) -> list[Path]:
    """Return the parquet files below a folder, or of a pattern, sorted, but for hidden ones."""
    found = path.rglob("*.parquet") if path.is_dir() else path.parent.glob(path.name)
    return sorted(file for file in found if not file.name.startswith("."))


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
            f"{path} has no column {image_column!r}, but {', '.join(rows.column_names)}: name the "
            "one that holds the pictures"
        )
    rows = rows.select_columns([image_column])
    return Source(rows.cast_column(image_column, datasets.Image(decode=False)), image_column)


_OPENERS: dict[type[DataConfig], Callable[[Any, Sequence[Path]], Source]] = {
    FolderDataConfig: _open_folder,
    ParquetDataConfig: _open_parquet,
    CocoDataConfig: _open_coco,
}
"""The function that finds the pictures of each kind of configuration."""
