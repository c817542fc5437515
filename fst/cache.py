"""Where downloads and compiled networks are kept."""

import os
import shlex
import stat
import sys
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from fst.errors import UserError


def cache_path(name: str) -> Path:
    """Return where a file or folder of the cache is or can be made.

    That is in `FST_CACHE`, or `fst` in the user's cache folder. What is not there and cannot be
    written there, as in a container whose user has no home, is in the temporary folder.

    Raises:
        UserError: it cannot be written there either.
    """
    usual = _usual_folder()
    if usual is not None and (_is_file(usual / name) or _can_be_made(usual / name)):
        return usual / name
    return _temporary_folder() / name


def prepare_caches() -> None:
    """Have torch keep compiled code in the cache, and `datasets` what it reads where it can.

    To be called before their first import, which reads the environment.
    """
    try:
        if "TORCHINDUCTOR_CACHE_DIR" not in os.environ and (folder := _compiled_folder()):
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
        users = _user_folder("huggingface")
        if users is None or not _can_be_made(users):
            os.environ.setdefault("HF_HOME", str(_temporary_folder() / "huggingface"))
    except UserError:
        pass  # most commands need neither; others say what they miss


def refuse_blanks() -> None:
    """Raise UserError if torch cannot compile in the folders that it is to use."""
    folders = [Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or cache_path("compiled"))]
    if sys.platform != "win32":
        folders.append(Path(tempfile.gettempdir()))
    for folder in folders:
        if not _is_compilable(folder):
            raise UserError(
                f"torch cannot compile in {folder}: set FST_CACHE and TMPDIR to folders whose "
                "paths have neither blanks nor quotes"
            )


def _compiled_folder() -> Path | None:
    """Return the folder for compiled code, if there is any that torch can take."""
    folder = cache_path("compiled")
    if not _is_compilable(folder):
        folder = _temporary_folder() / "compiled"
    return folder if _is_compilable(folder) else None


def _is_compilable(folder: Path) -> bool:
    """Say whether a compiler's command line, in which torch quotes no path, keeps this one whole.

    A space or a quote in it ("John Smith", "O'Brien") would break it.
    """
    try:
        return shlex.split(folder.as_posix()) == [folder.as_posix()]
    except ValueError:  # an open quote
        return False


def _usual_folder() -> Path | None:
    given = os.environ.get("FST_CACHE")
    return Path(given) if given else _user_folder("fst")


def _user_folder(name: str) -> Path | None:
    """Return a folder in the user's cache folder, or None for a user without a home."""
    try:
        folder = user_cache_path(name, appauthor=False)
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # as below
        return False


def _can_be_made(path: Path) -> bool:
    """Say whether a path can be written: its closest folder that exists decides."""
    try:
        while not path.exists():
            path = path.parent
        return path.is_dir() and os.access(path, os.W_OK | os.X_OK)
    except OSError:  # it is in a folder that cannot be looked into
        return False


def _temporary_folder() -> Path:
    """Return the user's own folder in the temporary folder.

    Raises:
        UserError: there is none that nobody else can write in.
    """
    try:
        temporary = Path(tempfile.gettempdir())
        if sys.platform == "win32":  # each user has one
            return temporary / "fst"
        folder = temporary / f"fst-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UserError(f"no folder can be written ({error}): set FST_CACHE to one") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(f"others can write in {folder}: set FST_CACHE to a folder of your own")
    return folder
