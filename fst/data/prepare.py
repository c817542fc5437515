"""Any set of photographs as parquet files of the size that training needs.

Training decodes a photograph at each visit, and scales a part of it: the smaller it is, the faster.
Each file is written whole, so an interrupted preparation continues with the first that is missing.
`prepared.json` beside the files holds their checksums, those of the photographs that they were made
of, and what was skipped.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from fst.atomic import replacing, write_texts
from fst.config import DataConfig
from fst.data.sources import (
    MAX_UNUSABLE,
    MIN_PX,
    RECORD,
    UNFINISHED,
    Skipped,
    Source,
    open_source,
)
from fst.errors import UserError
from fst.folder_lock import lock
from fst.models.released import checksum
from fst.pictures.colour import SRGB, colours_of_picture
from fst.pictures.formats import open_picture
from fst.pictures.image import UnreadableImageError, scaled_size
from fst.report import Progress, few

PER_FILE = 1000
"""Pictures of a parquet file."""


@dataclass(frozen=True)
class Prepared:
    """What the folder holds after a preparation."""

    photographs: int
    files: int
    bytes: int
    skipped: Skipped
    """Pictures that are not in the files: name and reason."""
    kept: int
    """Files of an earlier preparation whose checksums agree."""
    damaged: int
    """Files of an earlier preparation that were damaged or missing, and are written again."""
    other_files: list[str]
    """Names of files of the source that were left out: they are of another kind."""

    def __str__(self) -> str:
        skipped = [f"{name} {reason}" for name, reason in self.skipped]
        files = f"{self.files} file{'s' if self.files > 1 else ''}"
        parts = [
            f"{self.photographs:,} photographs in {files}, {self.bytes / 1e6:,.1f} MB",
            f"{self.kept} of the files were there already" if self.kept else "",
            f"{self.damaged} were damaged and are new" if self.damaged else "",
            f"{len(skipped)} pictures skipped (see {RECORD}): {few(skipped)}" if skipped else "",
            f"{len(self.other_files)} other files left out ({few(self.other_files)})"
            if self.other_files
            else "",
        ]
        return "; ".join(filter(None, parts))


@dataclass(frozen=True)
class _Photograph:
    """A photograph as the files hold it."""

    name: str
    jpeg: bytes
    size: tuple[int, int]
    """Width and height."""
    made_of: str
    """Hash of the source's file."""


def prepare(
    data: DataConfig, output: Path, size_px: int, quality: int, progress: Progress
) -> Prepared:
    """Write photographs as parquet files, or complete an earlier preparation.

    They are scaled down, never up, and encoded as JPEG with the full resolution of colours; small
    JPEGs stay as they are. Each file is read again, and its photographs are decoded, before it
    counts.

    Args:
        data: where the photographs are.
        output: the folder of the parquet files.
        size_px: the photographs' shorter side.
        quality: of JPEG, 1 to 100.
        progress: called after each picture.

    Raises:
        FileNotFoundError: there are no pictures.
        UserError: an impossible size or quality, a folder that holds something else or in which
            another process works, no usable picture, or a hundred unreadable ones in a row.
        OSError: a file cannot be written, or differs when it is read again.
    """
    if size_px < MIN_PX:
        raise UserError(f"size={size_px} must be at least {MIN_PX} pixels")
    if not 1 <= quality <= 100:
        raise UserError(f"quality={quality} must be from 1 to 100")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: name a folder")
    ours = any((output / name).exists() for name in (RECORD, UNFINISHED))
    if output.exists() and not ours and _visible_files(output):
        raise UserError(f"{output} is not empty: name a new folder")
    source = open_source(data, leave_out=[output])
    with lock(output, "name a new folder"), ThreadPoolExecutor(os.cpu_count()) as threads:
        return _prepare(source, output, size_px, quality, progress, threads)


def _prepare(
    source: Source,
    output: Path,
    size_px: int,
    quality: int,
    progress: Progress,
    threads: Executor,
) -> Prepared:
    settings = {
        "source": source.fingerprint(),
        "pictures": len(source),
        "size": size_px,
        "quality": quality,
    }
    starts = range(0, len(source), PER_FILE)
    parts = {
        f"{number:05}-of-{len(starts):05}.parquet": range(start, min(start + PER_FILE, len(source)))
        for number, start in enumerate(starts)
    }
    recorded = _read_record(output, settings)
    files = {name: recorded[name] for name in parts if name in recorded}
    for name, entry in files.items():
        progress("comparing pictures with those prepared", parts[name].start, len(source))
        if _hash_pictures(source, parts[name], entry["skipped"], threads) != entry["made_of"]:
            raise _other_pictures(output, "contents")
    whole = {
        name
        for name in files
        if (output / name).exists() and checksum(output / name) == files[name]["sha256"]
    }
    damaged = len(files) - len(whole)
    (output / UNFINISHED).touch()
    read, began = 0, time.monotonic()
    for name, indices in parts.items():
        if name in whole:
            continue
        photographs: list[_Photograph] = []
        skipped: Skipped = []
        found = threads.map(lambda i: _read(source, i, size_px, quality), indices)
        for index, picture in zip(indices, _refuse_a_lost_disk(found), strict=True):
            if isinstance(picture, _Photograph):
                photographs.append(picture)
            else:
                skipped.append(picture)
            read += 1
            rate = read / (time.monotonic() - began)
            what = f"{index + 1:,} of {len(source):,} pictures, {rate:.0f}/s"
            progress(what, index + 1, len(source))
        if len(skipped) == len(source):
            raise UserError(f"no picture can be used: {few([' '.join(each) for each in skipped])}")
        files[name] = {
            "sha256": _write(output / name, photographs, threads),
            "made_of": _hash([photograph.made_of for photograph in photographs]),
            "photographs": len(photographs),
            "skipped": skipped,
        }
        record = json.dumps({"settings": settings, "files": files}, indent=1)
        write_texts(output, {RECORD: record + "\n"})
    (output / UNFINISHED).unlink()
    return Prepared(
        photographs=sum(files[name]["photographs"] for name in parts),
        files=len(parts),
        bytes=sum((output / name).stat().st_size for name in parts),
        skipped=[tuple(each) for name in parts for each in files[name]["skipped"]],
        kept=len(whole),
        damaged=damaged,
        other_files=source.other_files,
    )


def _visible_files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if not file.name.startswith(".")]


def _read_record(output: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what an earlier preparation recorded of each file, by name; nothing if there is none.

    Raises:
        UserError: it was made of other pictures or with other settings.
    """
    record = output / RECORD
    if not record.exists():
        return {}
    try:
        there = json.loads(record.read_text(encoding="utf-8"))
        before, files = there["settings"], there["files"]
        differing = [key for key, value in settings.items() if before[key] != value]
        files = {name: _check_entry(entry) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{record} is damaged, or of an earlier version: delete {output} and prepare it again"
        ) from error
    if differing and files:
        raise _other_pictures(output, ", ".join(differing))
    return files


def _other_pictures(output: Path, differing: str) -> UserError:
    return UserError(
        f"{output} was prepared from other pictures or settings ({differing}): name a new folder"
    )


def _check_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what is recorded of a file; raise ValueError unless it is what `prepare` writes."""
    texts = [
        entry["sha256"],
        entry["made_of"],
        *(text for name, reason in entry["skipped"] for text in (name, reason)),
    ]
    if type(entry["photographs"]) is not int or not all(isinstance(text, str) for text in texts):
        raise ValueError(entry)
    return entry


def _hash_pictures(source: Source, indices: range, skipped: Skipped, threads: Executor) -> str:
    """Return the hash of pictures as the source has them now, without those skipped before."""
    names = {name for name, _ in skipped}
    taken = [index for index in indices if source.name_below_root(index) not in names]
    return _hash(threads.map(lambda index: _hash([source.read_bytes(index)]), taken))


def _hash(parts: Iterable[bytes | str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()


def _read(source: Source, index: int, size_px: int, quality: int) -> _Photograph | tuple[str, str]:
    """Return a picture scaled down and encoded, or its name and why it cannot be used."""
    name = source.name_below_root(index)
    try:
        picture = source.open(index)
    except UnreadableImageError as error:
        return name, str(error)
    encoded = source.read_bytes(index)
    made_of = _hash([encoded])
    if min(picture.size) > size_px:
        height, width = scaled_size(picture.height, picture.width, size_px)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    elif _is_plain_jpeg(encoded):
        return _Photograph(name, encoded, picture.size, made_of)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=quality, subsampling="4:4:4")
    return _Photograph(name, jpeg.getvalue(), picture.size, made_of)


def _is_plain_jpeg(encoded: bytes) -> bool:
    """Say whether a picture is a JPEG whose pixels are the photograph as it is, upright in sRGB."""
    with open_picture(io.BytesIO(encoded)) as picture:
        upright = picture.getexif().get(ExifTags.Base.Orientation, 1) == 1
        in_srgb = picture.mode == "RGB" and colours_of_picture(picture) == SRGB
        return picture.format == "JPEG" and upright and in_srgb


def _refuse_a_lost_disk(
    found: Iterator[_Photograph | tuple[str, str]],
) -> Iterator[_Photograph | tuple[str, str]]:
    """Pass pictures on; raise UserError after a hundred in a row that cannot be used."""
    failures = 0
    for picture in found:
        if isinstance(picture, _Photograph):
            failures = 0
        elif (failures := failures + 1) == MAX_UNUSABLE:
            name, reason = picture
            raise UserError(
                f"{failures} pictures in a row are unusable, the last one {name}: {reason}. Once "
                "they are back, run the same command again to resume"
            )
        yield picture


def _write(file: Path, photographs: list[_Photograph], threads: Executor) -> str:
    """Write a parquet file that reads back as what was written; return its SHA-256."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = pa.array([{"bytes": each.jpeg, "path": each.name} for each in photographs], kind)
    with replacing(file) as temporary:
        pq.write_table(pa.table({"image": rows}), temporary, compression="none")
        written = pq.read_table(temporary)["image"].combine_chunks()
        sizes = threads.map(_decoded_size, written.field("bytes").to_pylist())
        if written != rows or list(sizes) != [each.size for each in photographs]:
            raise OSError(f"{file} does not read back as it was written: check the disk")
        return checksum(temporary)


def _decoded_size(jpeg: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(jpeg)) as picture:
        picture.load()
        return picture.size
