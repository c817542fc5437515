"""Stylizing video files: decode, stylize, filter and encode in parallel.

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
from fst.video.formats import format_of
from fst.video.video_file import Frame, VideoReader
from fst.video.video_writer import VideoWriter

Item = TypeVar("Item")
_AHEAD = 8  # frames and audio packets that may wait before the network, and after it


@dataclass(frozen=True)
class VideoReport:
    """What `stylize_video` did: `seconds` of wall time, `seconds_network` of them in the stylizer.

    `notes` has a line for everything that could not be kept: damaged frames, converted audio.
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
    """Stylize a video file; if it fails or is interrupted, the target is left unchanged.

    Frame times are kept exactly (to a millisecond in .mkv and .webm), including variable frame
    rates and a late start. Rotation and pixel aspect ratio are applied to the pixels. Audio is
    copied, or converted if the target's container cannot hold it. The target is H.264 or, for
    .webm, VP9. H.264 requires even sides: the last row or column is repeated if necessary.

    Args:
        stylizer: called with a frame, (H, W, 3) uint8 RGB; returns one of the same size.
        source: a file of any format that FFmpeg reads.
        target: the file to write or replace: .mp4, .m4v, .mov, .mkv or .webm.
        size: scale the shorter side to this many pixels; both sides are rounded to even numbers.
        filters: applied to each stylized frame, in this order; new objects for each video.
        progress: called with the number of frames done and, if known, about how many there are.

    Raises:
        FileNotFoundError: the source does not exist.
        UserError: the source has no video stream that can be decoded, or the target's suffix or a
            setting is invalid.
        ImportError: PyAV is not installed.
        KeyboardInterrupt: Ctrl-C; the message says how far it was and what became of the target.
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
        try:
            # The network runs in the caller's thread, the one that Ctrl-C interrupts.
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
        except KeyboardInterrupt as stop:
            kept = "is unchanged" if target.exists() else "was not written"
            raise type(stop)(f"after {frames} frames of {source}: {target} {kept}") from None
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
    """Yield the items; the pool's only thread fetches `_AHEAD` of them in advance."""
    waiting = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
    while (item := waiting.popleft().result()) is not None:
        waiting.append(pool.submit(next, items, None))
        yield item
