"""Which pictures and videos are meant, and which file is to come of each.

Results are never written over what exists, so a run over a folder that was stopped goes on where
it was.
"""

import glob
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fst.errors import UserError
from fst.pictures.image import PICTURE_SUFFIXES, files_below, writable_suffix
from fst.video.video_file import format_of, is_video


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


def find_inputs(inputs: Sequence[str], output: str) -> tuple[list[tuple[Path, Path]], int]:
    """Return the files that are meant, each with its path below the output folder.

    Args:
        inputs: pictures, videos, folders (all pictures below them are taken, and their folders
            kept) and patterns (`photos/*.jpg`, `**` for any folders between).
        output: the folder for the results; what lies in it is not taken for input.

    Returns:
        The files and paths, and how many files of folders were left alone as no pictures. What is
        not there, or is a folder without pictures, is among them: reading it says so.
    """
    found: list[tuple[Path, Path]] = []
    left_alone = 0
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            # Where the results go beside the pictures, they can't be told from them.
            files = files_below(path, [Path(output)] if not _same(path, output) else [])
            pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
            found += [(file, file.relative_to(path)) for file in pictures]
            left_alone += len(files) - len(pictures)
            taken = len(pictures)
        elif glob.has_magic(given) and not path.exists():
            root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
            # Path.glob takes no absolute patterns
            matches = sorted(map(Path, glob.glob(given, recursive=True)))  # noqa: PTH207
            if not _same(root, output) and Path(output).resolve().is_relative_to(root.resolve()):
                matches = [m for m in matches if Path(output) not in m.parents]
            files = [match for match in matches if not match.is_dir()]
            found += [(file, file.relative_to(root)) for file in files]
            taken = len(files)
        else:
            taken = 0
        if not taken:
            found.append((path, Path(path.name)))
    return found, left_alone


def _same(one: str | Path, other: str | Path) -> bool:
    # Path.resolve() trips on links that lead in a circle.
    return os.path.realpath(one) == os.path.realpath(other)


def plan(found: Sequence[tuple[Path, Path]], models: Sequence[str], output: str) -> list[Job]:
    """Return what is to be done, in order.

    Args:
        found: what `find_inputs` returned.
        models: their names; several get a folder each in `output`.
        output: the one result, if there is one and this has a suffix; else a folder.

    Raises:
        UserError: two results would have one name, a result would be written over a picture that
            is read, or `output` is of no format that can be written, or a file and there are
            several.
    """
    folder = Path(output)
    to_file = bool(folder.suffix) and not output.endswith(("/", os.sep)) and not folder.is_dir()
    if len(found) * len(models) > 1:
        if to_file and (is_video(folder) or folder.suffix.lower() in PICTURE_SUFFIXES):
            raise UserError(
                f"{len(found) * len(models)} results need a folder: -o {output} is none"
            )
        to_file = False
    if folder.is_file() and not to_file:
        raise UserError(f"the results need a folder, but -o {output} is a file")
    jobs = []
    for model in models:
        place = folder / model if len(models) > 1 else folder
        for source, below in found:
            target = folder if to_file else place / _with_writable_suffix(below)
            jobs.append(Job(source, model, target))
    originals = {os.path.realpath(job.source) for job in jobs}
    sources: dict[Path, Path] = {}
    for job in jobs:
        _check_suffix(job.source, job.target)
        if os.path.realpath(job.target) in originals:
            raise UserError(f"{job.target} would be written over a picture: choose another -o")
        if job.target in sources:
            both = f"{sources[job.target]} and {job.source}"
            raise UserError(f"{both} would both become {job.target}: do them one after the other")
        sources[job.target] = job.source
    return jobs


def _check_suffix(source: Path, target: Path) -> None:
    """Raise UserError if what comes of `source` can't be written as `target`."""
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
