"""Where photographs come from: folders, parquet files, and the Hugging Face Hub."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from fst.config import CocoDataConfig, DataConfig, FolderDataConfig, ParquetDataConfig
from fst.data.parquet import check_column, open_pictures
from fst.errors import UserError
from fst.pictures.formats import is_picture
from fst.pictures.image import PICTURE_SUFFIXES, UnreadableImageError, files_below, open_rgb
from fst.pictures.raw import is_camera_raw

MIN_PX = 32
"""Pictures with a shorter side below this are skipped."""
MAX_UNUSABLE = 100
"""So long a run of unusable pictures means a disk that is gone, not damaged pictures."""
UNFINISHED = ".unfinished"
"""A file in a folder that `fst prepare` has not completed."""
RECORD = "prepared.json"
"""What `fst prepare` writes about its files."""
_SAMPLED = 32
"""Pictures without names whose contents tell one data set from another."""

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

    def read_bytes(self, index: int) -> bytes:
        """Return a picture as its file holds it; nothing if it is empty or cannot be read."""
        image = self.rows[index][self.column] or {"bytes": None, "path": None}
        if image["bytes"] or not image["path"]:
            return image["bytes"] or b""
        try:
            return Path(image["path"]).read_bytes()
        except OSError:
            return b""

    def name(self, index: int) -> str:
        """Return the name of a picture in messages: a file's path."""
        return self._paths[index].as_py() or f"picture {index}"

    def name_below_root(self, index: int) -> str:
        """Return the name of a picture without the folder that all lie in."""
        return self._below_root(self.name(index))

    def fingerprint(self) -> str:
        """Return a hash of the pictures' names below `root`.

        Where some have no name, their sizes count too, and the contents of a few.
        """
        import pyarrow.compute as pc

        names = [name and self._below_root(name) for name in self._paths.to_pylist()]
        digest = hashlib.sha256(repr(names).encode("utf-8", "replace"))
        if None in names:
            for chunk in self.rows.data.column(self.column).chunks:
                sizes = pc.binary_length(chunk.field("bytes")).to_pylist()
                digest.update("".join(f"{size} " for size in sizes).encode())
            for index in np.linspace(0, len(self) - 1, _SAMPLED, dtype=int).tolist():
                digest.update(self.read_bytes(index))
        return digest.hexdigest()[:16]

    @cached_property
    def _paths(self) -> Any:
        """The pictures' paths, an Arrow array: a row's would be read together with its bytes."""
        import pyarrow as pa

        chunks = self.rows.data.column(self.column).chunks
        return pa.chunked_array([chunk.field("path") for chunk in chunks], pa.string())

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
        UserError: it is none of these.
    """
    path = Path(source)
    if path.is_dir():
        if _parquet_files(path)[0]:
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
    files = files_below(Path(config.path), leave_out)
    for file in files:
        name = str(file)
        # By its name, so that a damaged picture is counted as unusable, or by its content.
        if name.isprintable() and (file.suffix.lower() in PICTURE_SUFFIXES or is_picture(file)):
            pictures.append(name)
        else:
            others.append(ascii(file.name)[1:-1])
    if not pictures and any(map(is_camera_raw, files)):
        raise FileNotFoundError(
            f"{config.path} holds no pictures, but camera raw files, to be developed first"
        )
    rows = datasets.Dataset.from_dict(
        {"image": pictures}, features=datasets.Features({"image": datasets.Value("string")})
    )
    rows = rows.cast_column("image", datasets.Image(decode=False))
    return Source(rows, other_files=others, root=config.path)


def _open_parquet(config: ParquetDataConfig, leave_out: Sequence[Path] = ()) -> Source:
    files, others = _parquet_files(Path(config.path), leave_out)
    if not files:
        raise FileNotFoundError(f"{config.path} holds no parquet files")
    for folder in {file.parent for file in files}:
        if (folder / UNFINISHED).exists():
            raise UserError(f"{folder} is not complete: run its `fst prepare` command again")
    rows = open_pictures(files, config.image_column)
    return Source(rows, config.image_column, [ascii(file.name)[1:-1] for file in others])


def _parquet_files(path: Path, leave_out: Sequence[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Return the parquet files of a name, a pattern or a folder, sorted, and a folder's others."""
    if path.is_dir():
        below = files_below(path, leave_out)
        files = [file for file in below if file.suffix == ".parquet"]
        return files, [file for file in below if file.suffix != ".parquet" and file.name != RECORD]
    if path.is_file():  # its name may read like a pattern
        return [path], []
    found = sorted(file for file in path.parent.glob(path.name) if file.is_file())
    return [file for file in found if not file.name.startswith(".")], []


def _open_coco(config: CocoDataConfig, _: Sequence[Path] = ()) -> Source:
    import datasets

    try:
        rows = datasets.load_dataset(config.path, split="train", data_files={"train": config.files})
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{config.path} cannot be loaded from the Hugging Face Hub ({error}). Without a "
            "connection, use data=folder data.path=DIR with any folder of photographs, or name a "
            "mirror in HF_ENDPOINT"
        ) from error
    column = config.image_column
    check_column(config.path, rows.features.arrow_schema, column)
    rows = rows.select_columns([column]).cast_column(column, datasets.Image(decode=False))
    return Source(rows, column)


_OPENERS: dict[type[DataConfig], Callable[[Any, Sequence[Path]], Source]] = {
    FolderDataConfig: _open_folder,
    ParquetDataConfig: _open_parquet,
    CocoDataConfig: _open_coco,
}
"""The function that finds the pictures of each kind of configuration."""
