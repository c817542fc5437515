"""The works that make up one style: pictures, and all pictures of folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from torch import Tensor

from fst.errors import UserError, one_line
from fst.pictures.image import UnreadableImageError, files_below, read_image
from fst.report import few

LeftOut: TypeAlias = list[tuple[str, str]]
"""Files of folders that are not pictures or cannot be read: name and reason."""


def read_works(
    paths: Sequence[str | Path], left_out: LeftOut, most_px: int | None = None
) -> Iterator[tuple[Path, Tensor]]:
    """Yield each picture of files and folders, (1, 3, H, W) in [0, 1], one at a time.

    A file that is named must be a picture; in a folder, those that are not are left out.

    Args:
        paths: folders are taken in the order of the names below them.
        left_out: gets what is left out.
        most_px: as for `read_image`.

    Raises:
        OSError: a file or folder is missing or may not be read.
        UserError: a named file cannot be read, or a folder has no picture that can.
    """
    for path in map(Path, paths):
        if not path.is_dir():
            yield path, read_image(path, most_px)
            continue
        unreadable: LeftOut = []
        files = files_below(path)
        for file in files:
            try:
                picture = read_image(file, most_px)
            except (FileNotFoundError, UnreadableImageError) as error:
                reason = one_line(error).removeprefix(f"{file} ")
                unreadable.append((str(file), reason))
            else:
                yield file, picture
        if len(unreadable) == len(files):
            why = f": {about_left_out(unreadable)}" if unreadable else ""
            raise UserError(f"no style: {path} holds no pictures{why}")
        left_out += unreadable


def about_left_out(left_out: LeftOut) -> str:
    """Return in words how many files were left out, which, and why."""
    named = few([f"{Path(name).name} ({reason})" for name, reason in left_out])
    return f"{len(left_out)} file{'s' * (len(left_out) > 1)} skipped: {named}"
