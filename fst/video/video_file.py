"""Video files in and out: frames, sound, times and colours.

Frames are uint8 RGB, (H, W, 3), coded with the transfer curve and the primaries of their source.
HDR is carried as it is coded, in 8 bits. PyAV, an optional extra, is imported where it is used; it
goes untyped here, since its types tell the kinds of streams apart no better than `Any`.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from fst.errors import UserError

# What a suffix is written as: container, codec of the pictures, codec of sound that is converted
_FORMATS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
_READ_ONLY = {".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"}
_CODEC_OPTIONS = {
    "libx264": {"preset": "veryfast", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "24"},
}
# ITU-T H.273's codes for matrices; the same ones name the primaries
_BT709, _UNSPECIFIED, _BT601_625, _BT601_525, _BT2020 = 1, 2, 5, 6, 9
_LIMITED_RANGE = 1


class Frame(NamedTuple):
    """A decoded frame: upright pixels, and from when and how long it is shown, in seconds."""

    pixels: np.ndarray
    time: Fraction
    duration: Fraction


def is_video(path: Path) -> bool:
    """Say whether the suffix is that of a video."""
    return path.suffix.lower() in _FORMATS.keys() | _READ_ONLY


class VideoReader:
    """Decodes a video file: iterating yields upright `Frame`s and, between them, packets of sound.

    Damage does not end it: what can be decoded is yielded, `notes` tells of the rest in the end.

    Args:
        source: the file.
        size: as for `stylize_video`.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it holds no video, or none of its frames can be decoded.
        ImportError: PyAV is not installed.
    """

    def __init__(self, source: Path, size: int | None = None) -> None:
        av = _pyav()
        if size is not None and size < 2:
            raise UserError(f"size={size} must be at least 2 pixels")
        if not source.exists():
            raise FileNotFoundError(f"no video {source}")
        self.notes: list[str] = []
        self._size = size
        self._frames = self._repaired = self._lost = 0
        self._time = self._end = Fraction(0)  # of the last frame
        self._reformat = _reformatter()
        try:
            self._container = av.open(str(source.absolute()))
        except av.FFmpegError as error:
            raise UserError(f"{source} can't be read as a video: {error.strerror}") from error
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
            raise UserError(f"{source} holds no video that can be decoded")
        self._video = video = videos[0]
        self.audio: Sequence[Any] = container.streams.audio
        self.rate: Fraction = video.average_rate or video.guessed_rate or Fraction(25)
        self.time_base: Fraction = video.time_base
        if video.duration:
            self._length = video.duration * self.time_base
        else:
            self._length = Fraction(container.duration or 0, av.time_base)
        self.total: int | None = video.frames or round(self._length * self.rate) or None
        # A broadcast stream counts its time from anywhere, other files from the start.
        broadcast = container.format.flags & av.format.Flags.ts_discont.value
        self._origin = Fraction((broadcast and container.start_time) or 0, av.time_base)

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
            self.notes.append(f"the file ends {missing:.1f} s early, after {self._frames} frames")
        if self._lost or self._repaired:
            self.notes.append(
                f"damaged: {self._frames} frames decoded, {self._repaired} of them with faults; "
                f"{self._lost} more could not be"
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
            yield from self._container.demux(self._video, *self.audio)
        except reading_error:
            self._lost += 1
            yield None  # has the decoder give the frames that it still holds

    def _convert(self, frame: Any) -> Frame:
        if not self._frames:
            self._look_at(frame)
        time = self._end if frame.pts is None else frame.pts * self.time_base - self._origin
        if self._frames:
            # Only damage makes times stand still or run back, and encoders refuse that.
            time = max(time, self._time + self.time_base)
        duration = frame.duration * self.time_base or 1 / self.rate
        self._time, self._end = time, time + duration
        self._frames += 1
        self._repaired += frame.is_corrupt

        if not frame.format.is_rgb:
            frame.colorspace = self.colors[0]
        pixels = self._reformat(frame, *self._decoded_size, "rgb24").to_ndarray()
        turned = pixels.transpose(1, 0, 2) if self._turned else pixels
        return Frame(np.ascontiguousarray(turned[self._upright]), time, duration)

    def _look_at(self, frame: Any) -> None:
        """Take from the first frame what holds for all."""
        tags = frame.colorspace, frame.color_primaries, frame.color_trc
        self.colors = _complete(tags, frame.width, frame.height)
        # Square pixels: others would stretch the strokes, and VP9 can't say that it has them.
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


class VideoWriter:
    """Encodes frames to a video file; leaving it as a context manager completes the file.

    After an exception in its context the file is of no use.

    Args:
        path: the file; its suffix says the format, as for `stylize_video`.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        rate: about how many frames a second there are.
        time_base: unit of the frames' times, in seconds.
        colors: codes of matrix, primaries and transfer (ITU-T H.273); left out, those that are
            usual for the size.
        audio: PyAV's streams of sound, whose packets `write_audio` takes.

    Raises:
        UserError: the suffix is of no format that can be written.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        rate: Fraction | float,
        *,
        time_base: Fraction = Fraction(1, 90_000),
        colors: tuple[int, int, int] = (_UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED),
        audio: Sequence[Any] = (),
    ) -> None:
        self._av = av = _pyav()
        name, codec, self._audio_codec = format_of(path)
        self.notes: list[str] = []
        # H.264 has a sample of chroma for two pixels.
        self._padding = (height % 2, width % 2) if codec == "libx264" else (0, 0)
        self._shape = (height, width, 3)
        self.width, self.height = width + self._padding[1], height + self._padding[0]
        self._time_base = time_base
        self._colors = _complete(colors, width, height)
        self._reformat = _reformatter()

        options = {}
        if name in ("mp4", "mov"):
            # The header counts a late start in the movie's own time, by default milliseconds.
            options = {"movflags": "+faststart", "movie_timescale": str(time_base.denominator)}
        self._container = av.open(str(path.absolute()), "w", format=name, container_options=options)
        self._video = self._container.add_stream(
            codec,
            Fraction(rate).limit_denominator(10_000),
            _CODEC_OPTIONS[codec],
            time_base=time_base,
        )
        self._video.time_base = time_base
        context = self._video.codec_context
        context.width, context.height = self.width, self.height
        context.thread_type = "FRAME"  # slices, PyAV's default, make the file larger
        context.flags |= av.codec.context.Flags.frame_duration.value
        context.color_range = _LIMITED_RANGE
        context.colorspace, context.color_primaries, context.color_trc = self._colors
        self._sounds = {source.index: self._add_audio(source) for source in audio}
        self._container.start_encoding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            with suppress(self._av.FFmpegError):
                self._container.close()

    def write(
        self, frame: np.ndarray, time: Fraction | float, duration: Fraction | float = 0
    ) -> None:
        """Append a frame, (height, width, 3) uint8 RGB.

        Args:
            frame: the pixels.
            time: from when it is shown, in seconds; later than the frame before.
            duration: how long, in seconds; matters for the last frame alone.

        Raises:
            ValueError: the frame does not have the size of the video.
        """
        if frame.shape != self._shape:
            raise ValueError(f"expected a frame of shape {self._shape}, not {frame.shape}")
        rows, columns = self._padding
        padded = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        matrix = self._colors[0]
        image = self._reformat(
            self._av.VideoFrame.from_ndarray(padded, "rgb24"),
            format="yuv420p",
            # swscale has one code for both variants of BT.601
            dst_colorspace=_BT601_625 if matrix == _BT601_525 else matrix,
            dst_color_range=_LIMITED_RANGE,
        )
        image.time_base = self._time_base
        image.pts = round(time / self._time_base)
        image.duration = round(duration / self._time_base)
        self._container.mux(self._video.encode(image))

    def write_audio(self, packet: Any) -> None:
        """Append a packet of one of the streams `audio`, copied or converted."""
        sound = self._sounds[packet.stream_index]
        if sound.stream is None:
            return
        if sound.converted:
            with suppress(self._av.error.InvalidDataError):  # damaged: a moment of silence
                for samples in packet.decode():
                    self._container.mux(sound.stream.encode(samples))
        elif packet.dts > sound.last_dts:  # else it is damaged, and refused by containers
            sound.last_dts = packet.dts
            packet.stream = sound.stream
            self._container.mux(packet)

    def close(self) -> None:
        """Write what the encoders still hold and complete the file."""
        for sound in self._sounds.values():
            if sound.converted:
                self._container.mux(sound.stream.encode(None))
        self._container.mux(self._video.encode(None))
        self._container.close()

    def _add_audio(self, source: Any) -> "_Sound":
        name = f"sound (stream {source.index})"
        if source.codec_context is None:
            self.notes.append(f"{name} left out: its codec is unknown")
            return _Sound(None)
        container = self._container.format.name
        if _holds(container, source):
            return _Sound(self._container.add_stream_from_template(source))
        stream = self._container.add_stream(self._audio_codec, 48_000)
        stream.codec_context.layout = "mono" if source.channels == 1 else "stereo"
        self.notes.append(
            f"{name} converted to {stream.codec_context.codec.canonical_name}: a {container} file "
            f"can't hold {source.codec_context.codec.canonical_name}"
        )
        return _Sound(stream, converted=True)


@dataclass
class _Sound:
    stream: Any
    converted: bool = False
    last_dts: float = -math.inf


def format_of(target: Path) -> tuple[str, str, str]:
    """Return container and codecs for a suffix; raise UserError if it can't be written."""
    written_as = _FORMATS.get(target.suffix.lower())
    if written_as is None:
        raise UserError(
            f"can't write {target}: {target.suffix or 'no suffix'!r} names no video that can be "
            f"written; take one of {', '.join(_FORMATS)}"
        )
    return written_as


def _complete(tags: tuple[int, int, int], width: int, height: int) -> tuple[int, int, int]:
    """Fill in what a video's tags leave out: matrix, primaries, transfer; as players guess it."""
    matrix, primaries, transfer = tags
    if matrix not in (_BT709, _BT601_625, _BT601_525, _BT2020):
        matrix = _BT709 if max(width, height) >= 1280 or height > 576 else _BT601_525
    return (
        matrix,
        matrix if primaries == _UNSPECIFIED else primaries,
        _BT709 if transfer == _UNSPECIFIED else transfer,
    )


def _holds(container: str, stream: Any) -> bool:
    """Say whether the container takes the stream as it is; some refuse only at their header."""
    av = _pyav()
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _reformatter() -> Callable[..., Any]:
    """Return what converts frames in size and format, without swscale's shortcuts in chroma."""
    reformatter = _pyav().video.reformatter
    flags = reformatter.Interpolation
    quality = flags.BICUBIC | flags.FULL_CHR_H_INT | flags.ACCURATE_RND
    return partial(reformatter.VideoReformatter().reformat, interpolation=quality, threads=1)


def _pyav() -> Any:
    try:
        import av
        import av.video.reformatter
    except ImportError as error:
        raise ImportError("videos need PyAV: pip install 'fst-style-transfer[video]'") from error
    return av
