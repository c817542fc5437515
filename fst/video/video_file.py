"""Reading video files: frames, their times and colours, and what else the file holds.

Frames are uint8 sRGB, (H, W, 3). The values of SDR video are taken as they are, as screens show
them; HDR and wide gamuts are converted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from fst.errors import UserError
from fst.pictures.colour import SRGB, declared_by_codes, values_to_srgb
from fst.video.formats import BT709, UNSPECIFIED, complete_colors, pyav, reformatter


class Frame(NamedTuple):
    """A decoded frame: upright pixels, start and duration of its display in seconds."""

    pixels: np.ndarray
    time: Fraction
    duration: Fraction


@dataclass(frozen=True)
class Extras:
    """What a video file holds besides its frames, in PyAV's terms."""

    streams: Sequence[Any] = ()
    """Audio and subtitles."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Tags of the whole file, such as title or artist."""
    chapters: Sequence[Any] = ()


_ABOUT_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
"""Tags that describe one file and do not apply to a copy."""


class VideoReader:
    """Decodes a video file: iterating yields upright `Frame`s and, between them, packets.

    The packets are those of the streams in `extras`.

    Damage does not stop it: everything that can be decoded is yielded, and `notes` reports the rest
    at the end.

    Args:
        source: the file.
        size: as for `stylize_video`.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: the file has no video stream, or none of its frames can be decoded.
        ImportError: PyAV is not installed.
    """

    def __init__(self, source: Path, size: int | None = None) -> None:
        av = pyav()
        if size is not None and size < 2:
            raise UserError(f"size={size} must be at least 2 pixels")
        if not source.exists():
            raise FileNotFoundError(f"video {source} does not exist")
        self.notes: list[str] = []
        self._size = size
        self._frames = self._repaired = self._lost = 0
        self._time = self._end = Fraction(0)  # of the last frame
        self._reformat = reformatter()
        try:
            self._container = av.open(str(source.absolute()))
        except av.FFmpegError as error:
            raise UserError(f"cannot read {source} as a video: {error.strerror}") from error
        try:
            self._open(source, av)
        except BaseException:
            self._container.close()
            raise

    def _open(self, source: Path, av: Any) -> None:
        container = self._container
        attached_picture = av.stream.Disposition.attached_pic
        videos = [
            stream
            for stream in container.streams.video
            if stream.codec_context is not None and not stream.disposition & attached_picture
        ]
        # FFmpeg reads a picture as a video of one frame.
        if not videos or container.format.name.endswith("_pipe"):
            raise UserError(f"{source} has no video stream that can be decoded")
        self._video = video = videos[0]
        context = video.codec_context  # before decoding it has the tags of the container
        self._tags_of_file = context.colorspace, context.color_primaries, context.color_trc
        self.rate: Fraction = video.average_rate or video.guessed_rate or Fraction(25)
        self.time_base: Fraction = video.time_base
        if video.duration:
            self._length = video.duration * self.time_base
        else:
            self._length = Fraction(container.duration or 0, av.time_base)
        self.total: int | None = video.frames or round(self._length * self.rate) or None
        # Times of a broadcast stream start anywhere, those of other files at zero.
        broadcast = container.format.flags & av.format.Flags.ts_discont.value
        self._origin = Fraction((broadcast and container.start_time) or 0, av.time_base)

        self.extras = Extras(
            (*container.streams.audio, *container.streams.subtitles),
            {
                key: value
                for key, value in container.metadata.items()
                if key.lower() not in _ABOUT_THE_FILE
            },
            [self._from_origin(chapter) for chapter in container.chapters()],
        )

        self._items = self._read(av.FFmpegError)
        self._first = []
        for item in self._items:
            self._first.append(item)
            if isinstance(item, Frame):
                self._begin = item.time
                return
        raise UserError(f"{source} is damaged: none of its frames can be decoded")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Any]:
        yield from self._first
        yield from self._items
        missing = float(self._begin + self._length - self._end)
        if missing > 0.25:
            self.notes.append(
                f"the file is cut off {missing:.1f} s before its end, after {self._frames} frames"
            )
        if self._lost or self._repaired:
            self.notes.append(
                f"damaged: {self._frames} frames decoded, {self._repaired} of them with errors; "
                f"{self._lost} packets could not be decoded"
            )

    def _read(self, decoding_error: type[Exception]) -> Iterator[Any]:
        for packet in self._packets(decoding_error):
            if packet is None or packet.stream is self._video:
                try:
                    decoded = self._video.decode(packet)
                except decoding_error:
                    self._lost += 1
                    continue
                for frame in decoded:
                    yield self._convert(frame)
            elif packet.dts is not None and packet.pts is not None:
                origin = round(self._origin / packet.time_base)
                packet.pts, packet.dts = packet.pts - origin, packet.dts - origin
                yield packet

    def _packets(self, reading_error: type[Exception]) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._video, *self.extras.streams)
        except reading_error:
            self._lost += 1
            yield None  # flushes the decoder

    def _from_origin(self, chapter: Any) -> Any:
        origin = round(self._origin / chapter["time_base"])
        return {**chapter, "start": chapter["start"] - origin, "end": chapter["end"] - origin}

    def _convert(self, frame: Any) -> Frame:
        if not self._frames:
            self._look_at(frame)
        time = self._end if frame.pts is None else frame.pts * self.time_base - self._origin
        if self._frames:
            # Damage can make times repeat or run backwards, which encoders reject.
            time = max(time, self._time + self.time_base)
        duration = frame.duration * self.time_base or 1 / self.rate
        self._time, self._end = time, time + duration
        self._frames += 1
        self._repaired += frame.is_corrupt

        if not frame.format.is_rgb:
            frame.colorspace = self._matrix
        form = "rgb24" if self._declared == SRGB else "rgb48"
        values = self._reformat(frame, *self._decoded_size, form).to_ndarray()
        pixels = values_to_srgb(values, self._declared)
        turned = pixels.transpose(1, 0, 2) if self._turned else pixels
        return Frame(np.ascontiguousarray(turned[self._upright]), time, duration)

    def _look_at(self, frame: Any) -> None:
        """Take from the first frame what all frames have in common."""
        own = frame.colorspace, frame.color_primaries, frame.color_trc
        matrix, primaries, transfer = (
            of_file if tag == UNSPECIFIED else tag
            for tag, of_file in zip(own, self._tags_of_file, strict=True)
        )
        self.colors = complete_colors((matrix, primaries, transfer), frame.width, frame.height)
        self._matrix, primaries, transfer = self.colors
        self._declared = declared_by_codes(primaries, transfer) or SRGB
        if self._declared != SRGB:
            self.colors = BT709, BT709, BT709  # of the frames, not of the file
        # Square pixels: others would distort the strokes, and VP9 cannot signal them.
        width = round(frame.width * (self._video.sample_aspect_ratio or 1))
        height = frame.height
        if self._size is not None:
            scale = self._size / min(width, height)
            width, height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
        self._decoded_size = width, height

        # 3x3: (x, y, 1) of a pixel times the matrix is where it is shown
        matrix = frame.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d = (1, 0, 0, 0, 1) if matrix is None else np.frombuffer(matrix, np.int32)[:5]
        self._turned = abs(b) > abs(a)
        right, down = (c, b) if self._turned else (a, d)
        self._upright = (
            slice(None, None, -1 if down < 0 else 1),
            slice(None, None, -1 if right < 0 else 1),
        )
        self.width, self.height = (height, width) if self._turned else (width, height)
