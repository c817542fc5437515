"""Which pictures and videos are meant, and which file is to come of each.

Results are never written over what exists, so a run over a folder that was stopped goes on where
it was.
"""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fst.image import PICTURE_SUFFIXES, files_below, writable_suffix
from fst.video_file import format_of, is_video


@dataclass(frozen=True)
class Job:
    """A picture or video, the model to stylize it with, and the file that is to come of it."""

    source: Path
    model: str
    target: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a job: done, or the reason why not."""

    job: Job
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What else is worth knowing of it."""


def find_inputs(inputs: Sequence[str | Path]) -> tuple[list[tuple[Path, Path]], int]:
    """Return the files that are meant, each with its path below the output folder.

    Args:
        inputs: pictures, videos, folders (all pictures below them are taken, and their folders
            kept) and patterns (`photos/*.jpg`, `**` for any folders between).

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
        found: what `find_inputs` returned.
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
        _check_suffix(job.source, job.target)
        if os.path.realpath(job.target) == os.path.realpath(job.source):  # resolve() trips on loops
            raise ValueError(f"{job.target} would be written over itself: choose another -o")
        if job.target in sources:
            both = f"{sources[job.target]} and {job.source}"
            raise ValueError(f"{both} would both become {job.target}: do them one after the other")
        sources[job.target] = job.source
    return jobs


def _check_suffix(source: Path, target: Path) -> None:
    """Raise ValueError if what comes of `source` can't be written as `target`."""
    if is_video(source):
        format_of(target)
    else:
        writable_suffix(target)


def _with_writable_suffix(path: Path) -> Path:
    try:
        _check_suffix(path, path)
    except ValueError:
        # After all of the name, as a.png may lie beside a.bmp.
        return path.with_name(path.name + (".mp4" if is_video(path) else ".png"))
    return path


def without_existing(jobs: Sequence[Job], output: Path) -> list[Job]:
    """Return the jobs whose results do not exist.

    Raises:
        ValueError: `output` is a file and does.
    """
    if output.is_file():
        raise ValueError(f"{output} exists: --overwrite writes over it")
    return [job for job in jobs if not job.target.exists()]
