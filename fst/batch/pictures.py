"""Many pictures changed, one after the other; a failure does not stop the rest.

Threads decode the next pictures and encode the last ones while the network runs.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from fst.batch.failures import failure
from fst.batch.files import Job, Outcome
from fst.pictures.formats import count_pixels
from fst.pictures.image import Picture, read_picture, write_picture

_AHEAD = 3
"""At most this many pictures are decoded in advance, and as many wait to be encoded ..."""
_AHEAD_PX = 20_000_000
"""... and fewer if they have more pixels together: large pictures are processed one by one."""
_BATCH_PX = 1_000_000
"""Neighbours of the same size are processed together up to this many pixels."""
Change = Callable[[str, Tensor], tuple[Tensor, Sequence[tuple[str, ...]]]]
"""Given the name of a model and pixels, uint8 (N, 3, H, W), it returns others, of any size, and
what the user should know about each picture."""
_Batch = list[tuple[Job, Picture]]
_Encoding = deque[tuple[Job, Future[tuple[str, ...]]]]


def change_pictures(
    jobs: Sequence[Job], change: Change, size: int | None, quality: int
) -> Iterator[Outcome]:
    """Read pictures, change them and write the results; yield the outcome of each, in order.

    A stop (`KeyboardInterrupt`) is raised again once every picture that was changed is written.

    Args:
        jobs: what `plan` returned.
        change: what changes them; `Change` says how it is called.
        size: scale the shorter side to this many pixels first.
        quality: of JPEG and WebP files.
    """

    def decode(job: Job) -> Picture:
        return read_picture(job.source, size)

    encoding: _Encoding = deque()
    with ThreadPoolExecutor(_AHEAD) as readers, ThreadPoolExecutor(_AHEAD) as writers:
        try:
            for batch in _batches(jobs, readers, decode):
                done = batch if isinstance(batch, Outcome) else _change(batch, change)
                for result in [done] if isinstance(done, Outcome) else done:
                    if isinstance(result, Outcome):
                        yield from _finish_writing(encoding, 0)
                        yield result
                        continue
                    job, picture = result
                    encoding.append((job, writers.submit(_write, job, picture, quality)))
                    large = picture.rgb[0, 0].numel() > _AHEAD_PX
                    yield from _finish_writing(encoding, 0 if large else _AHEAD)
        except KeyboardInterrupt:
            yield from _finish_writing(encoding, 0)
            raise
        yield from _finish_writing(encoding, 0)


def _batches(
    jobs: Sequence[Job], readers: ThreadPoolExecutor, decode: Callable[[Job], Picture]
) -> Iterator[Outcome | _Batch]:
    """Yield decoded pictures, batched with neighbours of the same size and model, and failures."""
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
        except Exception as error:
            if batch:
                yield batch
                batch = []
            yield failure(job, error)
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


def _change(batch: _Batch, change: Change) -> Sequence[tuple[Job, Picture] | Outcome]:
    """Change a batch in place; if that fails, one by one, so that only those at fault fail."""
    try:
        pictures = [picture.rgb for _, picture in batch]
        # A large picture is always alone, and not copied.
        rgb = pictures[0] if len(batch) == 1 else torch.cat(pictures)
        results, notes = change(batch[0][0].model, rgb)
    except Exception as error:
        if len(batch) == 1:
            return [failure(batch[0][0], error)]
        return [result for one in batch for result in _change([one], change)]
    for (_, picture), pixels, about in zip(batch, torch.split(results, 1), notes, strict=True):
        picture.replace_pixels(pixels)  # in place, which frees the original
        picture.notes += about
    return batch


def _write(job: Job, picture: Picture, quality: int) -> tuple[str, ...]:
    """Write a result; return what the user should know about it."""
    dropped = write_picture(picture, job.target, quality)
    first = ("animated: only the first frame was used",) if picture.animated else ()
    return (*first, *picture.notes, *dropped)


def _finish_writing(encoding: _Encoding, keep: int) -> Iterator[Outcome]:
    """Wait until at most `keep` pictures are being encoded; yield the outcomes of the others."""
    while len(encoding) > keep:
        job, future = encoding.popleft()
        try:
            notes = future.result()
        except Exception as error:
            yield failure(job, error)
        else:
            yield Outcome(job, notes=notes)
