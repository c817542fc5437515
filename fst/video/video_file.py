"""Reading and writing video files: frames, audio, times and colours.

Frames are uint8 RGB, (H, W, 3), with the transfer curve and the primaries of their source; HDR is
kept in its coding, in 8 bits. PyAV, an optional extra, is imported where it is used. It is untyped
here because its types do not distinguish the kinds of streams.
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

# By suffix: container, video codec, codec of audio that has to be converted
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
# Matrix codes of ITU-T H.273; the primaries have the same ones
_BT709, _UNSPECIFIED, _BT601_625, _BT601_525, _BT2020 = 1, 2, 5, 6, 9
_LIMITED_RANGE = 1


class Frame(NamedTuple):
    """A decoded frame: upright pixels, start and duration of its display in seconds."""

    pixels: np.ndarray
    time: Fraction
    duration: Fraction


def is_video(path: Path) -> bool:
    """Return whether the suffix is that of a video."""
    return path.suffix.lower() in _FORMATS.keys() | _READ_ONLY


class VideoReader:
    """Decodes a video file: iterating yields upright `Frame`s and, between them, audio packets.

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
        av = _pyav()
        if size is not None and size < 2:
            raise UserError(f"size={size} must be at least 2 pixels")
        if not source.exists():
            raise FileNotFoundError(f"video {source} does not exist")
        self.notes: list[str] = []
        self._size = size
        self._frames = self._repaired = self._lost = 0
        self._time = self._end = Fraction(0)  # of the last frame
        self._reformat = _reformatter()
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
        self.audio: Sequence[Any] = container.streams.audio
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
            yield from self._container.demux(self._video, *self.audio)
        except reading_error:
            self._lost += 1
            yield None  # flushes the decoder

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
            frame.colorspace = self.colors[0]
        pixels = self._reformat(frame, *self._decoded_size, "rgb24").to_ndarray()
        turned = pixels.transpose(1, 0, 2) if self._turned else pixels
        return Frame(np.ascontiguousarray(turned[self._upright]), time, duration)

    def _look_at(self, frame: Any) -> None:
        """Take from the first frame what all frames have in common."""
        tags = frame.colorspace, frame.color_primaries, frame.color_trc
        self.colors = _complete(tags, frame.width, frame.height)
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


class VideoWriter:
    """Encodes frames to a video file; leaving its context completes the file.

    After an exception in its context the file is unusable, unless it `survives_kill`.

    Args:
        path: the file; its suffix determines the format, as for `stylize_video`.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        rate: approximate frames per second.
        time_base: unit of the frames' times, in seconds.
        colors: codes of matrix, primaries and transfer (ITU-T H.273); by default those usual for
            the size.
        audio: PyAV's audio streams, whose packets `write_audio` takes.
        survives_kill: write such that the file can be played up to its last second or so if this
            process is killed; the complete file is the same.

    Raises:
        UserError: the suffix is not that of a format that can be written.
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
        survives_kill: bool = False,
    ) -> None:
        self._av = av = _pyav()
        name, codec, self._audio_codec = format_of(path)
        self.notes: list[str] = []
        # H.264 has one chroma sample for two pixels.
        self._padding = (height % 2, width % 2) if codec == "libx264" else (0, 0)
        self._shape = (height, width, 3)
        self.width, self.height = width + self._padding[1], height + self._padding[0]
        self._time_base = time_base
        self._usual_duration = 1 / rate
        self._colors = _complete(colors, width, height)
        self._reformat = _reformatter()

        options = {}
        if survives_kill:  # a playable part every second; those of an MP4 are joined at the end
            options = {"flush_packets": "1", "cluster_time_limit": "1000"}
        if name in ("mp4", "mov"):
            # The header counts a late start in the movie's own time, by default milliseconds.
            options["movie_timescale"] = str(time_base.denominator)
            options["movflags"] = "+faststart"
            if survives_kill:
                options |= {"movflags": "+hybrid_fragmented", "frag_duration": "1000000"}
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
        context.thread_type = "FRAME"  # PyAV's default, slices, makes files larger
        context.flags |= av.codec.context.Flags.frame_duration.value
        context.color_range = _LIMITED_RANGE
        context.colorspace, context.color_primaries, context.color_trc = self._colors
        self._waiting: Any = None  # a packet of video
        self._first = 0, 0  # times of display and of decoding of the first packet
        self._end = 0  # of the last frame
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
            time: when it is shown, in seconds; later than the previous frame.
            duration: how long, in seconds, which matters for the last frame only; 0 takes that of
                the rate.

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
        image.duration = round((duration or self._usual_duration) / self._time_base)
        self._end = image.pts + image.duration
        self._mux(self._video.encode(image))

    def write_audio(self, packet: Any) -> None:
        """Append a packet of one of the `audio` streams, copied or converted."""
        sound = self._sounds[packet.stream_index]
        if sound.stream is None:
            return
        if sound.converted:
            with suppress(self._av.error.InvalidDataError):  # damaged: brief silence
                for samples in packet.decode():
                    self._container.mux(sound.stream.encode(samples))
        elif packet.dts > sound.last_dts:  # otherwise it is damaged, and containers reject it
            sound.last_dts = packet.dts
            packet.stream = sound.stream
            self._container.mux(packet)

    def close(self) -> None:
        """Flush the encoders and complete the file."""
        for sound in self._sounds.values():
            if sound.converted:
                self._container.mux(sound.stream.encode(None))
        self._mux(self._video.encode(None))
        if self._waiting is not None:
            self._set_length(self._waiting)
            self._container.mux(self._waiting)
        self._container.close()

    def _mux(self, packets: Sequence[Any]) -> None:
        """Append video packets; the newest is held back, as `_set_length` changes the last one."""
        for packet in packets:
            if self._waiting is None:
                self._first = packet.pts, packet.dts
            else:
                self._container.mux(self._waiting)
            self._waiting = packet

    def _set_length(self, last: Any) -> None:
        """Give the last packet the duration that makes an MP4 as long as its frames are shown.

        MP4 adds up durations in the order of decoding, and with B-frames the packet decoded last is
        not the frame shown last.
        """
        if self._container.format.name in ("mp4", "mov") and last.time_base == self._time_base:
            shown, decoded = self._end - self._first[0], last.dts - self._first[1]
            last.duration = max(1, shown - decoded)

    def _add_audio(self, source: Any) -> "_Sound":
        name = f"audio stream {source.index}"
        if source.codec_context is None:
            self.notes.append(f"{name} dropped: unknown codec")
            return _Sound(None)
        container = self._container.format.name
        if _holds(container, source):
            return _Sound(self._container.add_stream_from_template(source))
        stream = self._container.add_stream(self._audio_codec, 48_000)
        stream.codec_context.layout = "mono" if source.channels == 1 else "stereo"
        self.notes.append(
            f"{name} converted to {stream.codec_context.codec.canonical_name}: {container} cannot "
            f"hold {source.codec_context.codec.canonical_name}"
        )
        return _Sound(stream, converted=True)


@dataclass
class _Sound:
    stream: Any
    converted: bool = False
    last_dts: float = -math.inf


def format_of(target: Path) -> tuple[str, str, str]:
    """Return container and codecs for a suffix; raise UserError if it cannot be written."""
    written_as = _FORMATS.get(target.suffix.lower())
    if written_as is None:
        raise UserError(
            f"cannot write {target}: {target.suffix or 'no suffix'!r} is not a supported video "
            f"format; use one of {', '.join(_FORMATS)}"
        )
    return written_as


def _complete(tags: tuple[int, int, int], width: int, height: int) -> tuple[int, int, int]:
    """Complete a video's tags (matrix, primaries, transfer) with what players assume."""
    matrix, primaries, transfer = tags
    if matrix not in (_BT709, _BT601_625, _BT601_525, _BT2020):
        matrix = _BT709 if max(width, height) >= 1280 or height > 576 else _BT601_525
    return (
        matrix,
        matrix if primaries == _UNSPECIFIED else primaries,
        _BT709 if transfer == _UNSPECIFIED else transfer,
    )


def _holds(container: str, stream: Any) -> bool:
    """Return whether the container takes the stream unchanged; some refuse only at the header."""
    av = _pyav()
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _reformatter() -> Callable[..., Any]:
    """Return a converter of frame size and format without swscale's chroma shortcuts."""
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
