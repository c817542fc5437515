"""What a video file holds besides its frames, and what of that cannot be kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from fst.report import few
from fst.video.formats import pyav
from fst.video.opening import is_cover, readable_tags


@dataclass(frozen=True)
class Extras:
    """What a video file holds besides its frames, in PyAV's terms."""

    streams: Sequence[Any] = ()
    """Audio, subtitles and attachments, such as the subtitles' fonts."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Tags of the whole file, such as title or artist."""
    chapters: Sequence[Any] = ()
    timecode: str | None = None
    """That of the first frame, as cameras count it."""


_ABOUT_THE_FILE = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "software",
    "duration",
}
"""Tags that describe one file and do not apply to a copy."""


def extras_of(container: Any, film: Any, origin: Fraction) -> Extras:
    """Return what an open file holds besides the frames of its film; times start at `origin`."""
    streams = container.streams

    def from_origin(chapter: Any) -> Any:
        start = round(origin / chapter["time_base"])
        times = {"start": chapter["start"] - start, "end": chapter["end"] - start}
        return {**chapter, **times, "metadata": readable_tags(chapter["metadata"])}

    return Extras(
        (*streams.audio, *streams.subtitles, *streams.attachments),
        {
            key: value
            for key, value in container.metadata.items()
            if key.lower() not in _ABOUT_THE_FILE
        },
        [from_origin(chapter) for chapter in container.chapters()],
        film.metadata.get("timecode"),
    )


def about_left_out(container: Any, film: Any, extras: Extras) -> list[str]:
    """Return a note for each stream that no result can hold: other films, covers, sensors' data."""
    notes = []
    kept = {film.index, *(stream.index for stream in extras.streams)}
    titles_of_chapters = pyav().stream.Discard.all  # FFmpeg has read that stream already
    unknown = []
    for stream in container.streams:
        if stream.index in kept or stream.discard == titles_of_chapters:
            continue
        if extras.timecode and "timecode" in stream.metadata:
            continue
        if stream.type == "video" and is_cover(stream):
            notes.append("cover picture dropped")
        elif stream.type == "video":
            notes.append(f"video stream {stream.index} dropped: {_looks(stream)}")
        else:
            unknown.append(stream)
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        notes.append(f"data stream{plural} dropped: {few([_name(stream) for stream in unknown])}")
    if any("video stream" in note for note in notes):
        notes.append(f"the film is video stream {film.index}: {_looks(film)}")
    return notes


def _looks(stream: Any) -> str:
    context = stream.codec_context
    if context is None:
        return "unknown codec"
    return f"{context.width}x{context.height}, {context.codec.canonical_name}"


def _name(stream: Any) -> str:
    handler = stream.metadata.get("handler_name") or getattr(stream, "name", None)
    return f"{stream.index} ({handler})" if handler else str(stream.index)
