"""Writing video files: frames, their times and colours, and what else their source holds."""

import io
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np

from fst.video.extras import Extras
from fst.video.formats import (
    BT601_525,
    BT601_625,
    BT709,
    CODEC_OPTIONS,
    format_of,
    pyav,
    reformatter,
)
from fst.video.opening import open_video

_LIMITED_RANGE = 1
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Those of converted audio, by the number of channels; others become stereo."""
_SEARCHED = 500
"""The first packet of a stream is looked for among this many."""


class VideoWriter:
    """Encodes frames to a video file; leaving its context completes the file.

    After an exception in its context the file is unusable, unless it `survives_kill`.

    Args:
        path: the file; its suffix determines the format, as for `stylize_video`.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        rate: approximate frames per second.
        time_base: unit of the frames' times, in seconds.
        colors: codes of matrix, primaries and transfer (ITU-T H.273); those of the
            reader, or BT.709's, which sRGB is shown as.
        extras: audio and subtitles, whose packets `write_packet` takes, attachments, tags and
                chapters.
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
        colors: tuple[int, int, int] = (BT709, BT709, BT709),
        extras: Extras = Extras(),  # noqa: B008, it is frozen
        survives_kill: bool = False,
    ) -> None:
        self._av = av = pyav()
        name, codec, self._audio_codec = format_of(path)
        self.notes: list[str] = []
        # H.264 has one chroma sample for two pixels.
        self._padding = (height % 2, width % 2) if codec == "libx264" else (0, 0)
        self._shape = (height, width, 3)
        self.width, self.height = width + self._padding[1], height + self._padding[0]
        self._time_base = time_base
        self._usual_duration = 1 / rate
        self._colors = colors
        self._reformat = reformatter()

        codec_options = CODEC_OPTIONS[codec]
        options = {}
        if survives_kill:  # a playable part every second; those of an MP4 are joined at the end
            options = {"flush_packets": "1", "cluster_time_limit": "1000"}
        if name in ("mp4", "mov"):
            # The header counts a late start in the movie's own time, by default milliseconds.
            options["movie_timescale"] = str(time_base.denominator)
            options["movflags"] = "+faststart"
            if survives_kill:
                options |= {"movflags": "+hybrid_fragmented", "frag_duration": "1000000"}
                # With B-frames such a file would begin two frames late.
                codec_options = codec_options | {"bf": "0"}
        self._container = av.open(str(path.absolute()), "w", format=name, container_options=options)
        self._video = self._container.add_stream(
            codec,
            Fraction(rate).limit_denominator(10_000),
            codec_options,
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
        self._tracks = {source.index: self._add_track(source) for source in extras.streams}
        if extras.timecode:
            self._video.metadata["timecode"] = extras.timecode
        self._container.metadata.update(extras.metadata)
        self._container.set_chapters(list(extras.chapters))
        self._container.start_encoding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def abandon(self) -> None:
        """Close the file as it is, after an error; only one that `survives_kill` can be played."""
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
            dst_colorspace=BT601_625 if matrix == BT601_525 else matrix,
            dst_color_range=_LIMITED_RANGE,
        )
        image.time_base = self._time_base
        image.pts = round(time / self._time_base)
        image.duration = round((duration or self._usual_duration) / self._time_base)
        self._end = image.pts + image.duration
        self._mux(self._video.encode(image))

    def write_packet(self, packet: Any) -> None:
        """Append a packet of one of the streams in `extras`, copied or converted."""
        track = self._tracks[packet.stream_index]
        if track.stream is None:
            return
        if not track.converted:
            self._mux_extra(track, packet)
            return
        decoded = []
        with suppress(self._av.FFmpegError):  # damaged: brief silence
            decoded = packet.decode()
        for samples in decoded:
            for encoded in track.stream.encode(samples):
                self._mux_extra(track, encoded)

    def _mux_extra(self, track: "_Track", packet: Any) -> None:
        """Append a packet of a track unless it is damaged and the container would refuse it."""
        if packet.dts < track.next_dts:
            track.damaged += 1
            return
        # Subtitles may overlap: several lines may start at the same time.
        track.next_dts = packet.dts + (track.stream.type == "audio")
        packet.stream = track.stream
        try:
            self._container.mux(packet)
        except self._av.FFmpegError as error:
            if isinstance(error, OSError):  # such as a full disk
                raise
            track.damaged += 1

    def close(self) -> None:
        """Flush the encoders and complete the file."""
        for index, track in self._tracks.items():
            if track.converted:
                for encoded in track.stream.encode(None):
                    self._mux_extra(track, encoded)
            if track.damaged:
                self.notes.append(f"damaged: {track.damaged} packets of stream {index} dropped")
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

    def _add_track(self, source: Any) -> "_Track":
        if source.type == "attachment":
            return self._add_attachment(source)
        name = f"{source.type} stream {source.index}"
        if source.codec_context is None:
            self.notes.append(f"{name} dropped: unknown codec")
            return _Track(None)
        container, codec = self._container.format.name, source.codec_context.codec.canonical_name
        held = _holds(container, source)
        if held:
            stream = _add_copy(self._container, source)
        elif source.type == "audio":
            stream = self._container.add_stream(self._audio_codec, 48_000)
            stream.codec_context.layout = _LAYOUTS.get(source.channels, "stereo")
            self.notes.append(
                f"{name} converted to {stream.codec_context.codec.canonical_name}: {container} "
                f"cannot hold {codec}"
            )
        else:
            self.notes.append(f"{name} dropped: {container} cannot hold {codec}")
            return _Track(None)
        stream.disposition = source.disposition
        for tag in source.metadata.keys() & {"language", "title"}:
            stream.metadata[tag] = source.metadata[tag]
        return _Track(stream, converted=not held)

    def _add_attachment(self, source: Any) -> "_Track":
        container = self._container.format.name
        if container == "matroska":
            return _Track(self._container.add_stream_from_template(source))
        self.notes.append(f"attachment {source.name} dropped: {container} cannot hold it")
        return _Track(None)


@dataclass
class _Track:
    stream: Any
    converted: bool = False
    next_dts: float = -math.inf
    damaged: int = 0  # packets that were not written


def missing_tags(path: Path, tags: Iterable[str]) -> list[str]:
    """Return which of the tags the file does not have, in any language; containers know few."""

    def plain(tag: str) -> str:
        return re.sub(r"-[a-z]{3}$", "", tag.lower())

    with pyav().open(str(path.absolute())) as container:
        present = {plain(tag) for tag in container.metadata}
    return sorted({plain(tag) for tag in tags} - present)


def _holds(container: str, stream: Any) -> bool:
    """Return whether the container takes the stream unchanged; some refuse only at the end."""
    av = pyav()
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            copy = _add_copy(trial, stream)
            trial.start_encoding()
            packet = _first_packet(stream)
            if packet is not None:
                packet.stream = copy
                trial.mux(packet)
    except (ValueError, av.FFmpegError):
        return False
    return True


def _add_copy(container: Any, stream: Any) -> Any:
    """Add a stream that takes the packets of another unchanged."""
    copy = container.add_stream_from_template(stream)
    if stream.type == "audio":
        name = stream.layout.name
        if name == f"{stream.channels} channels":  # AVI says no more, which MP4 does not take
            copy.codec_context.layout = _LAYOUTS.get(stream.channels, name)
    return copy


def _first_packet(stream: Any) -> Any | None:
    """Return the first packet of a stream of audio; the file is opened anew for it."""
    if stream.type != "audio":  # subtitles may begin anywhere
        return None
    with open_video(Path(stream.container.name)) as again:
        packets = again.demux(again.streams[stream.index], *again.streams.video)
        for packet in itertools.islice(packets, _SEARCHED):
            if packet.stream_index == stream.index and packet.dts is not None:
                return packet
    return None
