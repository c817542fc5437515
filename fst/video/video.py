"""Stylizing video files: decode, stylize, filter and encode side by side.

>>> stylizer, smoother = fst.load("runs/the_scream"), TemporalSmoother(0.8)
>>> report = stylize_video(stylizer, Path("in.mp4"), Path("out.mp4"), filters=[smoother])
>>> report.frames, report.notes
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np

from fst.atomic import replacing
from fst.errors import UserError
from fst.video.filters import VideoFilter
from fst.video.video_file import Frame, VideoReader, VideoWriter, format_of

Item = TypeVar("Item")
_AHEAD = 8  # frames and packets of sound that may wait before the network, and behind it


@dataclass(frozen=True)
class VideoReport:
    """What `stylize_video` did: `seconds` of wall time, `seconds_network` of them in the stylizer.

    `notes` has a line for whatever did not come through as it was: damage, converted sound.
    """

    frames: int
    width: int
    height: int
    fps: float
    seconds: float
    seconds_network: float
    notes: tuple[str, ...]


def stylize_video(
    stylizer: Callable[[np.ndarray], np.ndarray],
    source: Path,
    target: Path,
    *,
    size: int | None = None,
    filters: Sequence[VideoFilter] = (),
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> VideoReport:
    """Stylize a video file; a run that fails or is stopped leaves no file.

    Every frame keeps its time (to a millisecond in .mkv and .webm), so variable frame rates and a
    late start stay as they are. Rotation is applied to the pixels, which are made square. Sound is
    copied, or converted where the target can't hold it. The target is H.264 or, for .webm, VP9.
    H.264 needs even sides: an odd one grows by a pixel, the last row or column repeated.

    Args:
        stylizer: called with a frame, (H, W, 3) uint8 RGB; returns one of its size.
        source: a file of any format that FFmpeg reads.
        target: the file to write or replace: .mp4, .m4v, .mov, .mkv or .webm.
        size: scale the shorter side to this many pixels; both sides are rounded to even numbers.
        filters: applied to each stylized frame, one after the other; new ones for each video.
        progress: called with the frames done and, if known, about how many there are.

    Raises:
        FileNotFoundError: there is no such source.
        UserError: it holds no video that can be decoded, or the target or a setting is no good.
        ImportError: PyAV is not installed.
    """
    format_of(target)
    if source.resolve() == target.resolve():
        raise UserError(f"the result would overwrite its source {source}; choose another name")
    started = perf_counter()
    frames, seconds_network = 0, 0.0
    with (
        VideoReader(source, size) as reader,
        replacing(target) as temporary,
        VideoWriter(
            temporary,
            reader.width,
            reader.height,
            reader.rate,
            time_base=reader.time_base,
            colors=reader.colors,
            audio=reader.audio,
        ) as writer,
        ThreadPoolExecutor(1, "decode") as decoding,
        ThreadPoolExecutor(1, "encode") as encoding,
    ):

        def finish(frame: Frame, stylized: np.ndarray) -> None:
            for video_filter in filters:
                stylized = video_filter(frame.pixels, stylized)
            writer.write(stylized, frame.time, frame.duration)

        writing: deque[Future[None]] = deque()
        # The network runs here, in the caller's thread, which is the one that Ctrl-C stops.
        for item in _ahead(decoding, iter(reader)):
            if isinstance(item, Frame):
                begun = perf_counter()
                stylized = stylizer(item.pixels)
                seconds_network += perf_counter() - begun
                writing.append(encoding.submit(finish, item, stylized))
                frames += 1
                progress(frames, reader.total and max(reader.total, frames))
            else:
                writing.append(encoding.submit(writer.write_audio, item))
            if len(writing) > _AHEAD:
                writing.popleft().result()
        for written in writing:
            written.result()
    return VideoReport(
        frames,
        writer.width,
        writer.height,
        float(reader.rate),
        perf_counter() - started,
        seconds_network,
        (*reader.notes, *writer.notes),
    )


def _ahead(pool: ThreadPoolExecutor, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; the pool's one thread takes `_AHEAD` of them in advance."""
    waiting = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
    while (item := waiting.popleft().result()) is not None:
        waiting.append(pool.submit(next, items, None))
        yield item
