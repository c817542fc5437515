"""Many pictures and videos, one after the other; one that fails stops no other.

Threads read ahead and write behind while the network works.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fst.errors import one_line
from fst.pictures.formats import count_pixels
from fst.pictures.image import Picture, read_image, read_picture, write_picture
from fst.stylizing.files import Job, Outcome
from fst.stylizing.stylizer import Stylizer
from fst.video.video import stylize_video

_AHEAD = 3
"""Pictures that are decoded before they are needed, and that may wait to be encoded ..."""
_AHEAD_PX = 20_000_000
"""... unless they have more pixels together: large ones go through one by one."""
_FAILURES = (ValueError, OSError, RuntimeError, MemoryError)  # torch lacks memory: RuntimeError
_BATCH_PX = 1_000_000
"""Neighbours of one size are stylized together up to so many pixels."""


def stylize_pictures(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    *,
    strength: float = 1.0,
    keep_colors: bool = False,
    size: int | None = None,
    mask: Path | None = None,
    tile_px: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[Outcome]:
    """Do the jobs; yield what becomes of each, in order. One that fails does not stop the rest.

    Args:
        jobs: what `plan` returned.
        stylizers: each model's.
        strength: what `Stylizer` takes.
        keep_colors: what `Stylizer` takes.
        size: scale each picture's shorter side to so many pixels first.
        mask: a picture, stretched over each: white is stylized, black kept.
        tile_px: what `Stylizer` takes.
        progress: is told the share of the tiles of a large picture that is done, in [0, 1].
    """
    mask_image = None if mask is None else read_image(mask).mean(1, keepdim=True)

    def decode(job: Job) -> Picture:
        return read_picture(job.source, size)

    def stylize(model: str, rgb: Tensor) -> Tensor:
        mask_here = None
        if mask_image is not None:
            size = list(rgb.shape[-2:])
            mask_here = torch.nn.functional.interpolate(mask_image, size, mode="bilinear")
        return stylizers[model](
            rgb,
            strength=strength,
            keep_colors=keep_colors,
            mask=mask_here,
            tile_px=tile_px,
            progress=progress,
        )

    encoding: deque[_Writing] = deque()
    with ThreadPoolExecutor(_AHEAD) as readers, ThreadPoolExecutor(_AHEAD) as writers:
        for outcome_or_batch in _batches(jobs, readers, decode):
            if isinstance(outcome_or_batch, Outcome):
                yield from _written(encoding, 0)
                yield outcome_or_batch
                continue
            batch = outcome_or_batch
            try:
                results = stylize(batch[0][0].model, torch.cat([p.rgb for _, p in batch]))
            except _FAILURES as error:
                yield from _written(encoding, 0)
                yield from (Outcome(job, one_line(error)) for job, _ in batch)
                continue
            for (job, picture), rgb in zip(batch, torch.split(results, 1), strict=True):
                done = replace(picture, rgb=rgb)
                encoding.append((job, done, writers.submit(write_picture, done, job.target)))
            large = sum(p.rgb[0, 0].numel() for _, p in batch) > _AHEAD_PX
            yield from _written(encoding, 0 if large else _AHEAD)
        yield from _written(encoding, 0)


def stylize_videos(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    *,
    strength: float = 1.0,
    keep_colors: bool = False,
    size: int | None = None,
    tile_px: int | None = None,
    smooth: float = 0.0,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Outcome]:
    """Do the jobs one after the other; yield what becomes of each.

    Args:
        jobs: what `plan` returned.
        stylizers: each model's.
        strength: what `Stylizer` takes.
        keep_colors: what `Stylizer` takes.
        size: scale the frames' shorter side to so many pixels first.
        tile_px: what `Stylizer` takes.
        smooth: what `fst.video.video.stylize_video` takes.
        progress: is told the frames done and, if known, about how many there are.
    """
    for job in jobs:
        try:
            report = stylize_video(
                partial(stylizers[job.model], tile_px=tile_px),
                job.source,
                job.target,
                strength=strength,
                keep_colors=keep_colors,
                smooth=smooth,
                size=size,
                progress=progress,
            )
        except _FAILURES as error:
            yield Outcome(job, one_line(error))
        else:
            said = f"{report.frames} frames, {report.frames / report.seconds:.1f} fps"
            yield Outcome(job, notes=(said, *report.notes))


_Batch = list[tuple[Job, Picture]]
_Writing = tuple[Job, Picture, Future[tuple[str, ...]]]


def _batches(
    jobs: Sequence[Job], readers: ThreadPoolExecutor, decode: Callable[[Job], Picture]
) -> Iterator[Outcome | _Batch]:
    """Yield decoded pictures, neighbours of one size and model together, and what failed."""
    waiting: deque[tuple[Job, int, Future[Picture]]] = deque()
    remaining = deque(jobs)
    batch: _Batch = []
    while waiting or remaining:
        while remaining and len(waiting) < _AHEAD:
            pixels = count_pixels(remaining[0].source)
            if waiting and pixels + sum(ahead for _, ahead, _ in waiting) > _AHEAD_PX:
                break
            job = remaining.popleft()
            waiting.append((job, pixels, readers.submit(decode, job)))
        job, _, future = waiting.popleft()
        try:
            picture = future.result()
        except _FAILURES as error:
            if batch:
                yield batch
                batch = []
            yield Outcome(job, one_line(error))
            continue
        if batch and not _fits(batch, job, picture):
            yield batch
            batch = []
        batch.append((job, picture))
    if batch:
        yield batch


def _fits(batch: _Batch, job: Job, picture: Picture) -> bool:
    first, other = batch[0]
    pixels = (len(batch) + 1) * picture.rgb[0, 0].numel()
    same = job.model == first.model and picture.rgb.shape == other.rgb.shape
    return same and pixels <= _BATCH_PX


def _written(encoding: deque[_Writing], keep: int) -> Iterator[Outcome]:
    """Wait until at most `keep` pictures are being encoded; yield what became of the others."""
    while len(encoding) > keep:
        job, picture, future = encoding.popleft()
        try:
            dropped = future.result()
        except _FAILURES as error:
            yield Outcome(job, one_line(error))
        else:
            first = ("animated: the first frame was stylized",) if picture.animated else ()
            yield Outcome(job, notes=(*first, *picture.notes, *dropped))
