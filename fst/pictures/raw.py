"""Camera raw files: what a sensor measured, beside a thumbnail that is easily taken for it."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

RAW_SUFFIXES = frozenset(
    (
        ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw",
        ".orf", ".pef", ".raf", ".rw2", ".sr2", ".srf", ".srw", ".x3f",
    )
)  # fmt: skip
"""Those whose TIFF structure does not say it are known by their suffix."""
_HEAD_BYTES = 16
_HEADS = (
    b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"\0MRM", b"FOVb",
)  # fmt: skip
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG_VERSION = 254, 262, 330, 50706
_SENSOR = (32803, 34892)
"""Values of the photometric interpretation: colour filter array, linear raw."""
_MAX_IFDS, _MAX_ENTRIES = 32, 1000


class CameraRawError(Exception):
    """A camera raw file was given as a picture."""


def is_camera_raw(path: Path) -> bool:
    """Say whether a file is camera raw; False if it cannot be read."""
    try:
        if not path.is_file():  # reading a pipe would wait forever
            return False
        with path.open("rb") as file:
            return holds_raw(file, path.suffix)
    except OSError:
        return False


def holds_raw(file: BinaryIO, suffix: str = "") -> bool:
    """Say whether a file, open at its start, is camera raw; `suffix` is that of its name."""
    head = file.read(_HEAD_BYTES).ljust(_HEAD_BYTES, b"\0")
    if head.startswith(_HEADS) or head[4:12] == b"ftypcrx ":
        return True
    order = _TIFF.get(head[:4])
    if order is None:
        return False
    if suffix.lower() in RAW_SUFFIXES or head[8:10] == b"CR" or head[8:12] in (b"IIII", b"MMMM"):
        return True
    pictures = list(_ifds(file, order, struct.unpack(order + "I", head[4:8])[0]))
    first = pictures[0] if pictures else {}
    is_thumbnail = bool(first.get(_SUBFILE, 0) & 1) and _SUB_IFDS in first
    of_sensor = any(each.get(_PHOTOMETRIC) in _SENSOR for each in pictures)
    return is_thumbnail or of_sensor or _DNG_VERSION in first


def _ifds(file: BinaryIO, order: str, start: int) -> Iterator[dict[int, int]]:
    """Yield the first value of each tag of a TIFF file's pictures, those of SubIFDs as well."""
    waiting, seen = [start], set[int]()
    while waiting and len(seen) < _MAX_IFDS:
        place = waiting.pop(0)
        if not place or place in seen:
            continue
        seen.add(place)
        file.seek(place)
        (count,) = struct.unpack(order + "H", file.read(2).ljust(2, b"\0"))
        if count > _MAX_ENTRIES:
            continue
        entries = file.read(12 * count)
        following = file.read(4)
        tags: dict[int, int] = {}
        for at in range(0, len(entries) - 11, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", entries, at)
            form = "H" if kind == 3 else "I"
            (tags[tag],) = struct.unpack_from(order + form, entries, at + 8)
            if tag == _SUB_IFDS and values == 1:
                waiting.append(tags[tag])
            elif tag == _SUB_IFDS:
                file.seek(tags[tag])
                listed = file.read(4 * min(values, _MAX_IFDS))
                waiting += struct.unpack(order + f"{len(listed) // 4}I", listed[: len(listed) & ~3])
        yield tags
        if len(following) == 4:
            waiting.append(struct.unpack(order + "I", following)[0])
