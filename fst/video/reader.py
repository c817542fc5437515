"""Reading video files: frames, their times and colours, and what else the file holds.

Frames are uint8 sRGB, (H, W, 3). The values of SDR video are taken as they are, as screens show
them; HDR and wide gamuts are converted.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from fst.errors import UserError
from fst.pictures.colour import SRGB, colours_of_codes, values_to_srgb
from fst.video.deinterlacing import Deinterlacer
from fst.video.extras import about_left_out, extras_of
from fst.video.formats import BT709, UNSPECIFIED, complete_colors, pyav, reformatter
from fst.video.opening import film_of, open_video

_MAX_ASPECT = 8
"""Pixels of real videos are at most some three times as wide as high, or as high as wide."""
_HIDDEN_PARTS = {
    "A53_CC": "closed captions",
    "SPHERICAL": "the marks of a 360-degree video",
    "STEREO3D": "the marks of a stereoscopic video",
}
"""What frames may carry besides their pixels, by FFmpeg's name."""


class Frame(NamedTuple):
    """A decoded frame: upright pixels, start and duration of its display in seconds."""

    pixels: np.ndarray
    time: Fraction
    duration: Fraction


class VideoReader:
    """Decodes a video file: iterating yields upright `Frame`s and, between them, packets.

    The packets are those of the streams in `extras`.

    Damage does not stop it: everything that can be decoded is yielded, and `notes` reports the rest
    at the end.

    Args:
        source: the file.
        size: as for `stylize_video`.
        wanted: called with the time of each frame after the first; those of which it says no are
            decoded and not yielded.
        quick: decode in several threads, and convert to RGB with shortcuts for chroma.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: the file has no video stream, or none of its frames can be decoded.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self,
        source: Path,
        size: int | None = None,
        wanted: Callable[[Fraction], bool] = lambda time: True,
        quick: bool = False,
    ) -> None:
        av = pyav()
        if size is not None and size < 2:
            raise UserError(f"size={size} must be at least 2 pixels")
        self.notes: list[str] = []
        self._size = size
        self._wanted = wanted
        self._frames = self._repaired = self._lost = 0
        self._looked = False
        self._last = self._end = 0  # of the last frame, in units of the time base
        self._deinterlace = Deinterlacer()
        self._reformat = reformatter(quick)
        self._threads = "AUTO" if quick else "SLICE"
        self._container = open_video(source)
        try:
            self._open(source, av)
        except BaseException:
            self._container.close()
            raise

    def _open(self, source: Path, av: Any) -> None:
        container = self._container
        video = film_of(container)
        if video is None:
            raise UserError(f"{source} has no video stream that can be decoded")
        self._video = video
        video.thread_type = self._threads
        context = video.codec_context  # before decoding it has the tags of the container
        self._tags_of_file = context.colorspace, context.color_primaries, context.color_trc
        self.rate: Fraction = video.average_rate or video.guessed_rate or Fraction(25)
        self.time_base: Fraction = video.time_base
        if video.duration:
            self._length = video.duration * self.time_base
        else:
            self._length = Fraction(container.duration or 0, av.time_base)
        self.total: int | None = video.frames or round(self._length * self.rate) or None
        # Times of a broadcast stream start anywhere, those of other files at zero; none may be
        # shown before that.
        if container.format.flags & av.format.Flags.ts_discont.value:
            self._origin = Fraction(container.start_time or 0, av.time_base)
        else:
            self._origin = min(Fraction(0), (video.start_time or 0) * self.time_base)
        self.extras = extras_of(container, video, self._origin)
        self.notes += about_left_out(container, video, self.extras)

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
        end = self._end * self.time_base - self._origin
        missing = float(self._begin + self._length - end)
        if missing > 0.25:
            self.notes.append(
                f"the file is cut off {missing:.1f} s before its end, after {self._frames} frames"
            )
        if self._lost or self._repaired:
            self.notes.append(
                f"damaged: {self._frames} frames decoded, {self._repaired} of them with errors; "
                f"{self._lost} packets could not be decoded"
            )
        if self._deinterlace.used:
            self.notes.append("interlaced: each pair of fields became one whole frame")

    def _read(self, decoding_error: type[Exception]) -> Iterator[Any]:
        for packet in self._packets(decoding_error):
            if packet is None or packet.stream is self._video:
                try:
                    decoded = self._video.decode(packet)
                except decoding_error:
                    self._lost += 1
                    continue
                for frame in decoded:
                    self._place(frame)
                    yield from self._visible(self._deinterlace(frame))
            elif packet.dts is not None and packet.pts is not None:
                origin = round(self._origin / packet.time_base)
                packet.pts, packet.dts = packet.pts - origin, packet.dts - origin
                yield packet
        yield from self._visible(self._deinterlace.flush())

    def _packets(self, reading_error: type[Exception]) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._video, *self.extras.streams)
        except reading_error:
            self._lost += 1
            yield None  # flushes the decoder

    def _place(self, frame: Any) -> None:
        """Set when a frame is shown and for how long, in units of the time base."""
        time = frame.pts
        if self._container.format.name == "avi":
            # AVI has no times but numbers frames as they are decoded, which is some frames before
            # they are shown; what FFmpeg makes of that is late and out of order.
            waiting = self._video.codec_context.reorder_depth * frame.duration
            time = None if frame.dts is None else frame.dts - waiting
        if time is None:
            time = self._end
        # Damage can make times repeat or run backwards, which encoders reject.
        least = self._last + 1 if self._frames else round(self._origin / self.time_base)
        time = max(time, least)
        if not frame.duration:
            frame.duration = max(1, round(1 / (self.rate * self.time_base)))
        frame.pts, frame.time_base = time, self.time_base
        self._last, self._end = time, time + frame.duration
        self._frames += 1
        self._repaired += frame.is_corrupt

    def _visible(self, frames: Iterable[Any]) -> Iterator[Frame]:
        for frame in frames:
            if not self._looked:
                self._look_at(frame)
                self._looked = True
            elif not self._wanted(self._time_of(frame)):
                continue
            yield self._convert(frame)

    def _time_of(self, frame: Any) -> Fraction:
        time: Fraction = frame.pts * frame.time_base - self._origin
        return time

    def _convert(self, frame: Any) -> Frame:
        if not frame.format.is_rgb:
            frame.colorspace = self._matrix
        form = "rgb24" if self._declared == SRGB else "rgb48"
        values = self._reformat(frame, *self._decoded_size, form).to_ndarray()
        pixels = values_to_srgb(values, self._declared)
        turned = pixels.transpose(1, 0, 2) if self._turned else pixels
        upright = np.ascontiguousarray(turned[self._upright])
        return Frame(upright, self._time_of(frame), frame.duration * frame.time_base)

    def _pixel_aspect(self) -> Fraction:
        """Return how much wider than high pixels are shown; damaged files say anything."""
        aspect: Fraction = self._video.sample_aspect_ratio or Fraction(1)
        if 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
            return aspect
        self.notes.append(f"damaged: pixels {aspect} times as wide as high are taken as square")
        return Fraction(1)

    def _about_dropped(self, frame: Any) -> list[str]:
        """Return a note for what a frame carries and results do not."""
        parts = [what for kind, what in _HIDDEN_PARTS.items() if frame.side_data.get(kind)]
        # FFmpeg's own decoders of VP8 and VP9 leave out transparency, which a tag declares.
        tags = {key.lower(): value for key, value in self._video.metadata.items()}
        has_alpha = any(component.is_alpha for component in frame.format.components)
        if has_alpha or tags.get("alpha_mode") == "1":
            parts.append("transparency")
        return [f"{' and '.join(parts)} dropped"] if parts else []

    def _look_at(self, frame: Any) -> None:
        """Take from the first frame what all frames have in common."""
        own = frame.colorspace, frame.color_primaries, frame.color_trc
        matrix, primaries, transfer = (
            of_file if tag == UNSPECIFIED else tag
            for tag, of_file in zip(own, self._tags_of_file, strict=True)
        )
        self.colors = complete_colors((matrix, primaries, transfer), frame.width, frame.height)
        self._matrix, primaries, transfer = self.colors
        self._declared = colours_of_codes(primaries, transfer) or SRGB
        if self._declared != SRGB:
            self.colors = BT709, BT709, BT709  # of the frames, not of the file
        # Square pixels: others would distort the strokes, and VP9 cannot signal them.
        width = round(frame.width * self._pixel_aspect())
        height = frame.height
        if self._size is not None:
            scale = self._size / min(width, height)
            width, height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
        self._decoded_size = width, height
        self.notes += self._about_dropped(frame)

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
