"""The picture formats that are read, recognised by content; suffixes may lie."""

import contextlib
import io
import warnings
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from fst.pictures.png import open_without_text, scale_transparency
from fst.pictures.raw import CameraRawError, holds_raw

FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
"""Pillow's names. Not EPS, which runs Ghostscript, nor formats that photographs never have."""
HEIF_MISSING = "is a HEIC picture, which needs: pip install 'fst-style-transfer[heif]'"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

# Pillow warns about odd metadata and large pictures; what it cannot read, it refuses. The filter is
# set once, as pictures are decoded in threads and `warnings.catch_warnings` is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_picture(file: Path | io.BytesIO) -> ImageFile.ImageFile:
    """Open a picture without decoding it.

    Raises:
        CameraRawError: it is a camera raw file, of which Pillow would read the thumbnail.
        ImportError: it is a HEIC picture, and pillow-heif is not installed.
        OSError: it cannot be read.
        PIL.UnidentifiedImageError: it is not a picture in one of `FORMATS`.
    """
    _refuse_raw(file)
    try:
        picture = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        if not _is_heif(file):
            raise
        return _open_heif(file)
    except ValueError:
        if (lean := open_without_text(file)) is None:
            raise
        return lean
    scale_transparency(picture)
    return picture


def load_picture(file: Path | io.BytesIO) -> ImageFile.ImageFile:
    """Open and decode a picture.

    Raises:
        Exception: what `open_picture` raises, and what decoders raise on damaged files.
    """
    picture = open_picture(file)
    try:
        picture.load()
    except ValueError:  # a PNG's texts may lie behind its pixels
        if isinstance(file, Path):  # else it would close the caller's
            picture.close()
        if (lean := open_without_text(file)) is None:
            raise
        lean.load()
        return lean
    except BaseException:
        picture.close()
        raise
    return picture


def is_picture(path: Path) -> bool:
    """Say whether a file's content is a picture, HEIC included; its suffix does not matter."""
    with contextlib.suppress(Exception):
        if path.is_file():  # reading a pipe would wait forever
            with contextlib.suppress(ImportError):  # a picture, although it cannot be read here
                open_picture(path).close()
            return True
    return False


def size_of(file: Path | io.BytesIO) -> tuple[int, int]:
    """Return the width and height that a picture file claims, without decoding it; else 0 and 0."""
    with contextlib.suppress(Exception):
        if isinstance(file, io.BytesIO) or file.is_file():
            with open_picture(file) as picture:
                return picture.size
    return 0, 0


def count_pixels(file: Path | io.BytesIO) -> int:
    """Return how many pixels a picture file claims to have, without decoding it; 0 if unknown."""
    width, height = size_of(file)
    return width * height


def _open_heif(file: Path | io.BytesIO) -> ImageFile.ImageFile:
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError(HEIF_MISSING) from error
    pillow_heif.register_heif_opener()
    return Image.open(file, formats=("HEIF",))


def _refuse_raw(file: Path | io.BytesIO) -> None:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            raw = holds_raw(opened, file.suffix)
    else:
        raw = holds_raw(file)
        file.seek(0)
    if raw:
        raise CameraRawError("is a camera raw file: develop it first, to JPEG, TIFF or PNG")


def _is_heif(file: Path | io.BytesIO) -> bool:
    if isinstance(file, Path):
        with file.open("rb") as opened:
            head = opened.read(12)
    else:
        head = file.getvalue()[:12]
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
