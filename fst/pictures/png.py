"""What Pillow does not handle in PNG: long texts and profiles, and the transparent colour."""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageFile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE = b"iCCP"
_MAX_PROFILE_BYTES = 16_000_000
UNREAD = "unread"
"""The key of a picture's `info` for notes on what of its file was not read."""


def open_without_text(file: Path | io.BytesIO) -> ImageFile.ImageFile | None:
    """Open a picture whose texts or profile are longer than Pillow reads; None if it is not a PNG.

    The profile is kept up to 16 MB.
    """
    content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
    if not content.startswith(_SIGNATURE):
        return None
    lean, profile, lost = [_SIGNATURE], b"", []
    for kind, chunk in _chunks(content):
        if kind == _PROFILE:
            profile = _decompress(chunk[8:-4].partition(b"\0")[2][1:])
            lost += [] if profile else ["its colour profile"]
        elif kind in _TEXTS:
            lost += [] if "its text" in lost else ["its text"]
        else:
            lean.append(chunk)
    picture = Image.open(io.BytesIO(b"".join(lean)), formats=("PNG",))
    if profile:
        picture.info["icc_profile"] = profile
    if lost:
        picture.info[UNREAD] = (f"{' and '.join(lost)} is too long and was not read",)
    scale_transparency(picture)
    return picture


def scale_transparency(picture: ImageFile.ImageFile) -> None:
    """Scale the clear colour of a PNG, not yet decoded, as Pillow scales the pixels to 8 bits."""
    clear = picture.info.get("transparency")
    layout = picture.tile[0].args if picture.tile else None
    if picture.format != "PNG" or not isinstance(layout, str):
        return
    if isinstance(clear, int) and layout in ("L;2", "L;4"):
        picture.info["transparency"] = clear * (85 if layout == "L;2" else 17)
    elif isinstance(clear, tuple) and layout == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in clear)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind of each chunk, and its bytes as a whole."""
    at = len(_SIGNATURE)
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], content[at:end]
        at = end


def _decompress(content: bytes) -> bytes:
    """Return a profile, empty if it is damaged or too long."""
    stream = zlib.decompressobj()
    try:
        profile = stream.decompress(content, _MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return b"" if stream.unconsumed_tail else profile
