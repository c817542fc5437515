"""Opening video files: which formats are read, tags of any encoding, which stream is the film."""

from pathlib import Path
from typing import Any

from fst.errors import UserError
from fst.video.formats import pyav

# FFmpeg's names. Others open further files that their text names (concat, hls, sdp, image2), or
# are not videos.
_READABLE = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,asf,flv,live_flv,ogg,mxf,dv,h264,hevc,h263,m4v,vc1,"
    "ivf,av1,obu,nut,wtv,rm,yuv4mpegpipe"
)
_PREVIEW_FACTOR = 4
"""A video stream with less than the largest one's pixels by this factor is a preview."""


def open_video(source: Path) -> Any:
    """Open a video file as a PyAV container whose tags are text; no other file is opened for it.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: it is not a file, or not in a format that is read.
        ImportError: PyAV is not installed.
    """
    av = pyav()
    if not source.exists():
        raise FileNotFoundError(f"video {source} does not exist")
    if not source.is_file():  # a pipe would be waited for
        raise UserError(f"cannot read {source} as a video: it is not a file")
    try:
        container = av.open(
            str(source.absolute()),
            metadata_errors="surrogateescape",
            container_options={"format_whitelist": _READABLE, "protocol_whitelist": "file"},
        )
    except av.error.ArgumentError as error:  # FFmpeg's answer to a format that is not listed
        raise UserError(
            f"cannot read {source} as a video: it is in none of the formats that are read, such as "
            "MP4, MOV, Matroska, WebM, AVI, MPEG, WMV, FLV, MXF and Ogg"
        ) from error
    except av.FFmpegError as error:
        raise UserError(f"cannot read {source} as a video: {error.strerror}") from error
    for tags in (container.metadata, *(stream.metadata for stream in container.streams)):
        readable = readable_tags(tags)
        tags.clear()
        tags.update(readable)
    return container


def readable_tags(tags: dict[str, str]) -> dict[str, str]:
    """Return tags that were read with `surrogateescape`; bytes that are not UTF-8 are Windows-1252.

    Old cameras and AVI files have those.
    """
    return {_readable(key): _readable(value) for key, value in tags.items()}


def _readable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape").decode("cp1252", errors="replace")
    return text


def film_of(container: Any) -> Any | None:
    """Return the video stream to show, or None if there is none that can be decoded.

    Covers and single pictures come last, then previews, which are much smaller than the largest
    stream. Of the rest it is the one marked as default, or else the largest.
    """
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    films = [stream for stream in streams if not is_cover(stream)]
    most = max(map(_pixels, films), default=0)

    def rank(stream: Any) -> tuple[bool, bool, bool, int, int]:
        moves = stream.frames != 1  # 0 is unknown
        is_preview = _pixels(stream) * _PREVIEW_FACTOR < most
        default = bool(stream.disposition & pyav().stream.Disposition.default)
        return moves, not is_preview, default, _pixels(stream), -stream.index

    return max(films, key=rank, default=None)


def is_cover(stream: Any) -> bool:
    """Say whether a video stream is a picture that players show for the file."""
    kinds = pyav().stream.Disposition
    return bool(stream.disposition & (kinds.attached_pic | kinds.timed_thumbnails))


def _pixels(stream: Any) -> int:
    return int(stream.codec_context.width * stream.codec_context.height)
