"""Files and folders that are never half-written."""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_STEM_BYTES = 120
"""How much of the target's name a temporary name repeats; file names are limited to 255 bytes."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors of writing more than the disk, a quota or the file system takes."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, and move it there once it is complete.

    A process that is killed leaves the old file or none, never half a file (and a hidden
    `.NAME.PID-RANDOM.partial` file, which can be deleted). Threads and processes that write the
    same path at once do not mix: the last one to finish wins. Missing parent folders are created.
    A new file has the permissions that the umask gives; an existing one keeps its own, where the
    file system has permissions. A symbolic link stays a link: the file that it points to is
    replaced.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    target = _target(path)
    temporary, mode = _create_beside(target)
    try:
        yield temporary
        if target.is_file():
            mode = stat.S_IMODE(target.stat().st_mode)
        _flush(temporary)
        if stat.S_IMODE(temporary.stat().st_mode) != mode:
            with suppress(OSError):  # network file systems and FAT have the mode of their mount
                temporary.chmod(mode)
        temporary.replace(target)
    except OSError as error:
        # Often reported without a name, and then blamed on what was read.
        if error.errno in _FULL and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and move it there once it is complete.

    A folder that is there is moved away before, and deleted afterwards with all that it holds.
    A process that is killed leaves a hidden `.NAME.PID-RANDOM.partial` folder, which can be
    deleted; killed between the two moves, it leaves two of them, one being the old folder.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = (target.with_name(_unique_name(target)) for _ in range(2))
    temporary.mkdir()  # not `tempfile.mkdtemp`, whose folders nobody else may read
    try:
        yield temporary
        if target.exists():
            target.replace(old)
        try:
            temporary.replace(target)
        except OSError:
            if old.exists():
                old.replace(target)
            raise
    finally:
        for each in (temporary, old):
            shutil.rmtree(each, ignore_errors=True)


def check_writable(path: Path) -> None:
    """Raise OSError if `replacing` could not write a file, before work begins that it is to keep.

    Missing parent folders are created.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        _create_beside(_target(path))[0].unlink()
    except OSError as error:  # names the temporary file
        raise OSError(error.errno, error.strerror, str(path)) from error


def _target(path: Path) -> Path:
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _flush(path: Path) -> None:
    """Have a file's contents reach the disk; many file systems of users or networks lack that."""
    with path.open("r+b") as written:  # Windows flushes only files open for writing
        try:
            os.fsync(written.fileno())
        except OSError as error:
            if error.errno == errno.EIO or error.errno in _FULL:
                raise


def _create_beside(target: Path) -> tuple[Path, int]:
    """Create an empty file in the folder of `target`; return its path and its permissions."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        temporary = target.with_name(_unique_name(target) + target.suffix)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.close(descriptor)
        return temporary, stat.S_IMODE(temporary.stat().st_mode)


def _unique_name(target: Path) -> str:
    stem = target.stem.encode(errors="surrogateescape")[:_STEM_BYTES].decode(errors="ignore")
    return f".{stem}.{os.getpid()}-{secrets.token_hex(4)}.partial"


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file as a whole.

    What safetensors and torch write themselves, they do without `OSError` where a disk is full.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts in UTF-8 into a folder, each under its name, and return the files.

    What has no UTF-8, such as half of a name of a file, is escaped.
    """
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    return [folder / name for name in texts]
