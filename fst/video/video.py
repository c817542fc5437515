"""Stylizing video files: decode, stylize, filter and encode in parallel.

>>> filters = lambda: [TemporalSmoother(0.8)]
>>> stylizer = fst.load("the_scream")
>>> report = stylize_video(stylizer, Path("in.mp4"), Path("out.mp4"), filters=filters)
>>> report.frames, report.notes
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch

from fst.atomic import replacing
from fst.errors import UserError
from fst.video.filters import SceneFilters, VideoFilter
from fst.video.formats import format_of
from fst.video.reader import Frame, VideoReader
from fst.video.writer import VideoWriter, missing_tags

Item = TypeVar("Item")
_AHEAD = 8  # frames and packets that may wait for the network, and that may be in it or after it


@dataclass(frozen=True)
class VideoReport:
    """What `stylize_video` did, in `seconds` of wall time.

    `notes` has a line for everything that could not be kept: damaged frames, converted audio,
    dropped subtitles and metadata.
    """

    frames: int
    width: int
    height: int
    fps: float
    seconds: float
    notes: tuple[str, ...]


def stylize_video(
    stylizer: Callable[[np.ndarray], np.ndarray],
    source: Path,
    target: Path,
    *,
    size: int | None = None,
    filters: Callable[[], Sequence[VideoFilter]] = tuple,
    workers: int = 1,
    scale: float = 1,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> VideoReport:
    """Stylize a video file; if it fails or is interrupted, the target is left unchanged.

    Frame times are kept exactly (to a millisecond in .mkv and .webm), including variable frame
    rates and a late start. Rotation and pixel aspect ratio are applied to the pixels. Audio is
    copied, or converted if the target's container cannot hold it; subtitles are copied, or dropped
    with a note; chapters and metadata are kept where the container has them. The target is H.264
    or, for .webm, VP9. H.264 requires even sides: the last row or column is repeated if necessary.

    Args:
        stylizer: called with a frame, (H, W, 3) uint8 RGB; returns one of `scale` times its size.
            It is called in other threads.
        source: a file of any format that FFmpeg reads.
        target: the file to write or replace: .mp4, .m4v, .mov, .mkv or .webm.
        size: scale the shorter side to this many pixels; both sides are rounded to even numbers.
        filters: called for each scene of the video; returns new filters, which are applied to each
            stylized frame, in this order.
        workers: call the stylizer from this many threads at once, among which torch's threads are
            divided.
        scale: how many times as wide and high as the frames the stylizer's results are.
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
    frames = 0
    with VideoReader(source, size) as reader, replacing(target) as temporary:
        with (
            VideoWriter(
                temporary,
                round(reader.width * scale),
                round(reader.height * scale),
                reader.rate,
                time_base=reader.time_base,
                colors=reader.colors,
                extras=reader.extras,
            ) as writer,
            _pools(workers) as (decoding, stylizing, encoding),
        ):
            scenes = SceneFilters(filters)

            def finish(frame: Frame, stylized: Future[np.ndarray]) -> None:
                pixels = scenes(frame.pixels, stylized.result())
                writer.write(pixels, frame.time, frame.duration)

            writing: deque[tuple[bool, Future[None]]] = deque()
            try:
                for item in itertools.chain(_ahead(decoding, iter(reader)), [None] * _AHEAD):
                    if isinstance(item, Frame):
                        stylized = stylizing.submit(stylizer, item.pixels)
                        writing.append((True, encoding.submit(finish, item, stylized)))
                    elif item is not None:
                        writing.append((False, encoding.submit(writer.write_packet, item)))
                    if writing and (item is None or len(writing) >= _AHEAD):
                        is_frame, written = writing.popleft()
                        written.result()
                        frames += is_frame
                        if is_frame:
                            progress(frames, reader.total and max(reader.total, frames))
            except KeyboardInterrupt as stop:
                kept = "is unchanged" if target.exists() else "was not written"
                raise type(stop)(
                    f"after {frames} frames of {source}: {target} {kept}; a video cannot be "
                    "resumed and starts again from its first frame"
                ) from None
        notes = [*reader.notes, *writer.notes]
        if lost := missing_tags(temporary, reader.extras.metadata):
            notes.append(f"metadata dropped: {target.suffix} has no {', '.join(lost)}")
    return VideoReport(
        frames,
        writer.width,
        writer.height,
        float(reader.rate),
        perf_counter() - started,
        tuple(notes),
    )


@contextmanager
def _pools(
    workers: int,
) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Yield pools that decode, stylize and encode; work not begun is cancelled after an error.

    The workers that stylize share torch's threads, so that none of them waits for a thread that a
    codec keeps from running.
    """
    threads = torch.get_num_threads()
    divide = partial(torch.set_num_threads, max(1, threads // workers))
    pools = (
        ThreadPoolExecutor(1, "decode"),
        ThreadPoolExecutor(workers, "stylize", initializer=divide),
        ThreadPoolExecutor(1, "encode"),
    )
    try:
        yield pools
    finally:
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in pools:
            pool.shutdown()
        torch.set_num_threads(threads)  # new threads take the number that was set last


def _ahead(pool: ThreadPoolExecutor, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; the pool's only thread fetches `_AHEAD` of them in advance."""
    waiting = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
    while (item := waiting.popleft().result()) is not None:
        waiting.append(pool.submit(next, items, None))
        yield item
