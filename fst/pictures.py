"""Files and folders of pictures: which there are, where each goes, and getting them done.

Decoding, stylizing and encoding overlap: threads read ahead and write behind while the network
works. Results are written whole or not at all and never over what exists, so a run over a folder
that was stopped goes on where it was.
"""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fst.image import (
    PICTURE_SUFFIXES,
    Picture,
    files_below,
    read_image,
    read_picture,
    resize,
    writable_suffix,
    write_picture,
)
from fst.stylize import Stylizer

_AHEAD = 3
"""Pictures that are decoded before they are needed, and that may wait to be encoded."""
_BATCH_PX = 1_000_000
"""Neighbours of one size are stylized together up to so many pixels."""


@dataclass(frozen=True)
class Job:
    """A picture, the model to stylize it with, and the file that is to come of it."""

    source: Path
    model: str
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job: done, or the reason why not."""

    job: Job
    error: str | None = None


def find_pictures(inputs: Sequence[str | Path]) -> tuple[list[tuple[Path, Path]], int]:
    """Return the picture files that are meant, each with its path below the output folder.

    Args:
        inputs: files, folders (all pictures below them are taken, and their folders kept) and
            patterns (`photos/*.jpg`, `**` for any folders between).

    Returns:
        The files and paths, and how many files of folders were left alone as no pictures. What is
        not there, or is a folder without pictures, is among them: reading it says so.
    """
    found: list[tuple[Path, Path]] = []
    left_alone = 0
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            files = files_below(path)
            pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
            if not pictures:
                found.append((path, Path(path.name)))
            found += [(file, file.relative_to(path)) for file in pictures]
            left_alone += len(files) - len(pictures)
        elif glob.has_magic(str(given)) and not path.exists():
            # Path.glob takes no absolute patterns
            matches = sorted(map(Path, glob.glob(str(given), recursive=True)))  # noqa: PTH207
            if not matches:
                found.append((path, Path(path.name)))
            found += [(match, Path(match.name)) for match in matches if not match.is_dir()]
        else:
            found.append((path, Path(path.name)))
    return found, left_alone


def plan(found: Sequence[tuple[Path, Path]], models: Sequence[str], output: Path) -> list[Job]:
    """Return what is to be done, in order.

    Args:
        found: what `find_pictures` returned.
        models: their names; several get a folder each in `output`.
        output: the one result, if there is one and this has a suffix; else a folder.

    Raises:
        ValueError: two results would have one name, a result would be written over its picture,
            or `output` is of no format that can be written, or a file and there are several.
    """
    to_file = bool(output.suffix) and not output.is_dir()
    if to_file and len(found) * len(models) > 1:
        raise ValueError(f"{len(found) * len(models)} results need a folder: -o {output} is none")
    jobs = []
    for model in models:
        folder = output / model if len(models) > 1 else output
        for source, below in found:
            target = output if to_file else folder / _with_writable_suffix(below)
            jobs.append(Job(source, model, target))
    sources: dict[Path, Path] = {}
    for job in jobs:
        writable_suffix(job.target)
        if os.path.realpath(job.target) == os.path.realpath(job.source):  # resolve() trips on loops
            raise ValueError(f"{job.target} would be written over itself: choose another -o")
        if job.target in sources:
            both = f"{sources[job.target]} and {job.source}"
            raise ValueError(f"{both} would both become {job.target}: do them one after the other")
        sources[job.target] = job.source
    return jobs


def _with_writable_suffix(path: Path) -> Path:
    try:
        writable_suffix(path)
    except ValueError:
        return path.with_name(f"{path.name}.png")  # all of it, as a.png may lie beside a.bmp
    return path


def without_existing(jobs: Sequence[Job], output: Path) -> list[Job]:
    """Return the jobs whose results do not exist.

    Raises:
        ValueError: `output` is a file and does.
    """
    if output.is_file():
        raise ValueError(f"{output} exists: --overwrite writes over it")
    return [job for job in jobs if not job.target.exists()]


def stylize_pictures(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    *,
    strength: float = 1.0,
    keep_colors: bool = False,
    size_px: int | None = None,
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
        size_px: scale each picture's shorter side to this first.
        mask: a picture, stretched over each: white is stylized, black kept.
        tile_px: what `Stylizer` takes.
        progress: is told the share of the tiles of a large picture that is done, in [0, 1].
    """
    mask_image = None if mask is None else read_image(mask).mean(1, keepdim=True)

    def decode(job: Job) -> Picture:
        picture = read_picture(job.source)
        return picture if size_px is None else _scaled(picture, size_px)

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

    encoding: deque[tuple[Job, Future[None]]] = deque()
    with ThreadPoolExecutor(_AHEAD) as readers, ThreadPoolExecutor(_AHEAD) as writers:
        for outcome_or_batch in _batches(jobs, readers, decode):
            if isinstance(outcome_or_batch, Outcome):
                yield from _written(encoding, 0)
                yield outcome_or_batch
                continue
            batch = outcome_or_batch
            try:
                results = stylize(batch[0][0].model, torch.cat([p.rgb for _, p in batch]))
            except (ValueError, OSError, RuntimeError) as error:
                yield from _written(encoding, 0)
                yield from (Outcome(job, _reason(error)) for job, _ in batch)
                continue
            for (job, picture), rgb in zip(batch, torch.split(results, 1), strict=True):
                done = replace(picture, rgb=rgb)
                encoding.append((job, writers.submit(write_picture, done, job.target)))
            yield from _written(encoding, _AHEAD)
        yield from _written(encoding, 0)


_Batch = list[tuple[Job, Picture]]


def _batches(
    jobs: Sequence[Job], readers: ThreadPoolExecutor, decode: Callable[[Job], Picture]
) -> Iterator[Outcome | _Batch]:
    """Yield decoded pictures, neighbours of one size and model together, and what failed."""
    waiting: deque[tuple[Job, Future[Picture]]] = deque()
    remaining = iter(jobs)
    batch: _Batch = []
    while True:
        while len(waiting) < _AHEAD and (job := next(remaining, None)) is not None:
            waiting.append((job, readers.submit(decode, job)))
        if not waiting:
            break
        job, future = waiting.popleft()
        try:
            picture = future.result()
        except (ValueError, OSError, MemoryError) as error:
            if batch:
                yield batch
                batch = []
            yield Outcome(job, _reason(error))
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


def _written(encoding: deque[tuple[Job, Future[None]]], keep: int) -> Iterator[Outcome]:
    """Wait until at most `keep` pictures are being encoded; yield what became of the others."""
    while len(encoding) > keep:
        job, future = encoding.popleft()
        try:
            future.result()
        except (ValueError, OSError) as error:
            yield Outcome(job, _reason(error))
        else:
            yield Outcome(job)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _scaled(picture: Picture, size_px: int) -> Picture:
    def scale(pixels: Tensor) -> Tensor:
        return (resize(pixels.float() / 255, size_px) * 255).round().byte()

    alpha = None if picture.alpha is None else scale(picture.alpha)
    return replace(picture, rgb=scale(picture.rgb), alpha=alpha)
