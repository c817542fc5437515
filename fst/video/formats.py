"""Video formats: the suffixes that can be read and written, their codecs, and colours.

PyAV, an optional extra, is imported where it is used. It is untyped here because its types do not
distinguish the kinds of streams.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fst.errors import UserError

# By suffix: container, video codec, codec of audio that has to be converted
_FORMATS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
_READ_ONLY = {".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
_ALSO_CODE = {".ts", ".mts"}
"""TypeScript has these suffixes too."""
# HEIC and AVIF pictures are such files with other brands.
_MP4_BRANDS = (b"iso", b"mp4", b"avc1", b"M4V", b"qt", b"3gp", b"dash", b"MSNV")
_MATROSKA = b"\x1aE\xdf\xa3"
CODEC_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "24"},
}
# Matrix codes of ITU-T H.273; the primaries have the same ones
BT709, UNSPECIFIED, BT601_625, BT601_525, BT2020 = 1, 2, 5, 6, 9


def is_video(path: Path) -> bool:
    """Return whether the suffix, or the head of an existing file, is that of a video."""
    if path.suffix.lower() in _FORMATS.keys() | _READ_ONLY:
        return not (path.suffix.lower() in _ALSO_CODE and _is_text(path))
    with suppress(OSError):
        if path.is_file():  # reading a pipe would wait forever
            with path.open("rb") as file:
                head = file.read(12)
            is_mp4 = head[4:8] == b"ftyp" and head[8:].startswith(_MP4_BRANDS)
            is_avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
            return is_mp4 or is_avi or head.startswith(_MATROSKA)
    return False


def _is_text(path: Path) -> bool:
    """Return whether a file begins with text, in UTF-8, or is empty."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(4096)
            # The last character may be cut in two.
            return b"\0" not in head and "\ufffd" not in head.decode("utf-8", "replace")[:-1]
    return False


def format_of(target: Path) -> tuple[str, str, str]:
    """Return container and codecs for a suffix; raise UserError if it cannot be written."""
    written_as = _FORMATS.get(target.suffix.lower())
    if written_as is None:
        raise UserError(
            f"cannot write {target}: {target.suffix or 'no suffix'!r} is not a supported video "
            f"format; use one of {', '.join(_FORMATS)}"
        )
    return written_as


def complete_colors(tags: tuple[int, int, int], width: int, height: int) -> tuple[int, int, int]:
    """Complete a video's tags (matrix, primaries, transfer) with what players assume."""
    matrix, primaries, transfer = tags
    if matrix not in (BT709, BT601_625, BT601_525, BT2020):
        matrix = BT709 if max(width, height) >= 1280 or height > 576 else BT601_525
    return (
        matrix,
        matrix if primaries == UNSPECIFIED else primaries,
        BT709 if transfer == UNSPECIFIED else transfer,
    )


def reformatter(quick: bool = False) -> Callable[..., Any]:
    """Return a converter of frame size and format; `quick` has swscale's shortcuts for chroma."""
    module = pyav().video.reformatter
    flags = module.Interpolation
    quality = flags.BICUBIC
    if not quick:  # six times as slow
        quality |= flags.FULL_CHR_H_INT | flags.ACCURATE_RND
    return partial(module.VideoReformatter().reformat, interpolation=quality, threads=1)


def pyav() -> Any:
    """Return PyAV's module `av`; raise ImportError that names the extra."""
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise ImportError("videos need PyAV: pip install 'fst-style-transfer[video]'") from error
    return av
