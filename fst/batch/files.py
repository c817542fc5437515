"""Which pictures and videos are stylized, and the file that each result is written to.

Existing results are kept by default, so a stopped run over a folder resumes where it was.
"""

import glob
import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fst.addresses import refuse_address
from fst.errors import UserError
from fst.pictures.formats import is_picture
from fst.pictures.image import PICTURE_SUFFIXES, files_below, writable_suffix
from fst.pictures.raw import is_camera_raw
from fst.report import few
from fst.video.formats import format_of, is_video


@dataclass(frozen=True)
class Job:
    """A picture or video, the model to stylize it with, and the file for the result."""

    source: Path
    model: str
    target: Path


@dataclass(frozen=True)
class Outcome:
    """The end of a job: done, or the reason why not."""

    job: Job
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What else the user should know."""
    bug: bool = False
    """The error is a bug rather than a fault of the file or the machine."""


def find_inputs(inputs: Sequence[str], output: str) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Return the files to stylize, each with its path below the output folder.

    Args:
        inputs: pictures, videos, folders (every picture and video below them, subfolders kept) and
            patterns (`photos/*.jpg`; `**` matches any folders).
        output: the folder for the results; files in it are not taken as input.

    Returns:
        The files and paths, and those files of folders that are neither pictures nor videos. A
        missing file and a folder with nothing to stylize are returned as they are: reading them
        gives the error.

    Raises:
        UserError: an input or the output is an address.
    """
    found: list[tuple[Path, Path]] = []
    skipped: list[Path] = []
    for given in (*inputs, output):
        refuse_address(given)
    for given in inputs:
        path = Path(given)
        taken: list[Path] = []
        if _is_folder(path):
            root = path
            # Results beside the pictures cannot be distinguished from inputs.
            files = files_below(path, [Path(output)] if not _same(path, output) else [])
            taken = [file for file in files if _can_be_stylized(file)]
            known = set(taken)
            skipped += [file for file in files if file not in known]
        elif glob.has_magic(given) and not path.exists():
            root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
            # Path.glob takes no absolute patterns
            taken = sorted(map(Path, glob.glob(given, recursive=True)))  # noqa: PTH207
            if not _same(root, output) and _is_below(output, root):
                results = {p for p in {m.parent for m in taken} if _is_below(p, output)}
                taken = [match for match in taken if match.parent not in results]
            taken = [match for match in taken if not _is_folder(match)]
        if taken:
            found += [(file, file.relative_to(root)) for file in taken]
        else:
            found.append((path, Path(path.name or "empty")))
    return found, skipped


def _can_be_stylized(file: Path) -> bool:
    # By its name, so that a damaged picture is reported rather than skipped, or by its content.
    by_name = file.suffix.lower() in PICTURE_SUFFIXES or is_video(file)
    return by_name or is_picture(file)


def about_skipped(skipped: Sequence[Path]) -> str:
    """Return in words which files of folders were skipped; nothing if none were."""
    if not skipped:
        return ""
    raw = [file for file in skipped if is_camera_raw(file)]
    others = [file for file in skipped if file not in set(raw)]
    parts = []
    if raw:
        what = "camera raw file" + "s" * (len(raw) > 1)
        parts.append(f"{len(raw)} {what}, to be developed first ({_first_names(raw)})")
    if others:
        what = "files that are neither pictures nor videos"
        if len(others) == 1:
            what = "file that is neither a picture nor a video"
        parts.append(f"{len(others)} {what} ({_first_names(others)})")
    return f"skipped {', and '.join(parts)}"


def _first_names(files: Sequence[Path]) -> str:
    return few([file.name for file in files])


def _is_folder(path: Path) -> bool:
    with suppress(OSError):  # of a link to a forbidden place, which is reported when it is read
        return path.is_dir()
    return False


def _same(one: str | Path, other: str | Path) -> bool:
    return _real(one) == _real(other)


def _is_below(path: str | Path, folder: str | Path) -> bool:
    return Path(_real(path)).is_relative_to(_real(folder))


def _real(path: str | Path) -> str:
    """Return where a path leads; the path itself for a link to a forbidden place."""
    try:
        return os.path.realpath(path)  # Path.resolve() trips on links that lead in a circle
    except OSError:
        return os.path.abspath(path)  # noqa: PTH100, resolves no links


def plan(found: Sequence[tuple[Path, Path]], models: Sequence[str], output: str) -> list[Job]:
    """Return the jobs, in order.

    Args:
        found: what `find_inputs` returned.
        models: their names; several get a folder each in `output`.
        output: the result's file, if there is one result and this has a suffix; else a folder.

    Raises:
        UserError: two results would have the same path, a result would overwrite a picture that
            is read, or `output` is a file for several results or has an unknown format.
    """
    folder = Path(output)
    to_file = bool(folder.suffix) and not output.endswith(("/", os.sep)) and not folder.is_dir()
    if len(found) * len(models) > 1:
        if to_file and (is_video(folder) or folder.suffix.lower() in PICTURE_SUFFIXES):
            raise UserError(
                f"-o {output} is a file, but {len(found) * len(models)} results need a folder"
            )
        to_file = False
    if folder.is_file() and not to_file:
        raise UserError(f"-o {output} is a file, but the results need a folder")
    jobs = []
    for model in models:
        place = folder / model if len(models) > 1 else folder
        for source, below in found:
            target = folder if to_file else place / _with_writable_suffix(source, below)
            jobs.append(Job(source, model, target))
    originals = {_real(job.source) for job in jobs}
    sources: dict[Path, Path] = {}
    for job in jobs:
        _check_suffix(job.source, job.target)
        if _real(job.target) in originals:
            raise UserError(f"{job.target} would overwrite an input: choose another -o")
        if job.target in sources:
            both = f"{sources[job.target]} and {job.source}"
            raise UserError(f"{both} would both become {job.target}: process them separately")
        sources[job.target] = job.source
    return jobs


def take_shard(jobs: Sequence[Job], share: str) -> list[Job]:
    """Return this process's share of the jobs; those of K = 1 to N are disjoint and complete.

    Args:
        jobs: what `plan` returned, the same in every process.
        share: `K/N`, the K-th of N: every N-th job from the K-th, so that neighbours, which are
            often alike in size, are shared out evenly.

    Raises:
        UserError: `share` is not of that form.
    """
    numbers = share.split("/")
    if len(numbers) == 2 and all(number.isascii() and number.isdecimal() for number in numbers):
        position, shares = map(int, numbers)
        if 1 <= position <= shares:
            return list(jobs[position - 1 :: shares])
    raise UserError(f"shard={share} must be K/N with K from 1 to N, such as 3/8")


def to_do(planned: Sequence[Job], overwrite: bool) -> tuple[list[Job], list[Job]]:
    """Return the jobs of pictures and of videos; without `overwrite`, those with no result yet."""
    jobs = [job for job in planned if overwrite or not job.target.exists()]
    videos = [job for job in jobs if is_video(job.source)]
    return [job for job in jobs if not is_video(job.source)], videos


def _check_suffix(source: Path, target: Path) -> None:
    """Raise UserError if the result of `source` cannot be written as `target`."""
    if is_video(source):
        format_of(target)
    else:
        writable_suffix(target)


def _with_writable_suffix(source: Path, target: Path) -> Path:
    try:
        _check_suffix(source, target)
    except UserError:
        # Appended to the whole name, as a.png may lie beside a.bmp.
        return target.with_name(target.name + (".mp4" if is_video(source) else ".png"))
    return target
