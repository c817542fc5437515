"""One process at a time in a folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fst.errors import UserError

TIMEOUT_SECONDS = 5.0
"""How long a second process waits: one that was just killed may still be releasing the lock."""
OWNER = ".lock-owner"
"""The file that says which process holds the lock."""


@contextmanager
def lock(folder: Path, otherwise: str) -> Iterator[None]:
    """Keep other processes from working in a folder, which is made if there is none.

    Forked children, such as data workers, do not inherit the lock (filelock closes it in them), so
    it ends with this process, even if that is killed.

    Args:
        folder: the folder; `.lock` and `OWNER` are written into it.
        otherwise: what the user can do instead of waiting.

    Raises:
        UserError: another process holds the lock, and kept it for `TIMEOUT_SECONDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, owner = FileLock(folder / ".lock"), folder / OWNER
    try:
        lock.acquire(timeout=TIMEOUT_SECONDS)
    except Timeout:
        raise UserError(
            f"{_name_owner(owner)} is working in {folder}: wait until it ends, or {otherwise}"
        ) from None
    try:
        owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _name_owner(owner: Path) -> str:
    try:
        text = owner.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return text[:200] or "another process"
