"""Checks of single values, each with a message that names the key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fst.errors import UserError

LARGEST = 10**15
"""Largest number of any setting: float32 can still square it."""
LARGEST_PX = 4096
"""Largest side of a picture that is trained on or judged by."""
LARGEST_WIDTH = 4096
"""Largest number of channels: a model file with more is not loaded."""
MAX_BLOCKS = 1000
"""Largest number of blocks or layers."""
LARGEST_RATE = 1000
"""Largest learning rate: Adam moves each weight by about this much in a step."""


def at_least(key: str, value: float, minimum: float, maximum: int = LARGEST) -> None:
    """Raise UserError unless the value is at least `minimum` and at most `maximum`."""
    if not value >= minimum:
        raise UserError(f"{key}={value} must be at least {minimum}")
    if value > maximum:
        raise UserError(f"{key}={value} must be at most {maximum:,}")


def above_zero(key: str, value: float, maximum: float) -> None:
    """Raise UserError unless the value is above 0 and at most `maximum`."""
    if not value > 0:
        raise UserError(f"{key}={value} must be above 0")
    if value > maximum:
        raise UserError(f"{key}={value} must be at most {maximum:,}")


def shares(key: str, values: Sequence[float], named: Sequence[str]) -> None:
    """Raise UserError unless there are none, or one of at least 0 for each name, not all 0."""
    if not all(0 <= value <= LARGEST for value in values):
        raise UserError(f"{key}={values} must hold numbers from 0 to {LARGEST:,}")
    if values and (len(values) != len(named) or sum(values) <= 0):
        raise UserError(
            f"{key}={values} must hold one number of at least 0 for each of {', '.join(named)}, "
            "not all 0"
        )


def title_of(path: str) -> str:
    """Return a file's name without its suffix, or a folder's; bytes that are not text are `?`."""
    named = Path(path)
    name = named.resolve().name if named.is_dir() else named.stem
    return name.encode(errors="replace").decode()


def one_of(key: str, value: str, known: Sequence[str]) -> None:
    """Raise UserError unless the value is a known one."""
    if value not in known:
        raise UserError(f"{key}={value} is unknown; choose one of {', '.join(known)}")


def existing(key: str, path: str) -> None:
    """Raise FileNotFoundError unless the path exists."""
    if not path:  # Path("") would be the current folder
        raise UserError(f"{key}= is empty")
    if not Path(path).exists():
        raise FileNotFoundError(f"{key}={path} does not exist (looked in {Path.cwd()})")


def check_seed(seed: int) -> None:
    """Raise UserError unless the generators of both torch and NumPy accept the seed."""
    if not 0 <= seed < 2**63:
        raise UserError(f"seed={seed} must be in [0, 2^63)")


def refuse_set_name(group: str, chosen: Any) -> None:
    """Raise UserError if a group's `name` was set directly: GROUP=NAME sets it."""
    if chosen.name != type(chosen).name:
        raise UserError(
            f"{group}.name={chosen.name} cannot be set: choose it with {group}={chosen.name}"
        )


def inside_folder(runs_dir: str, name: str | None) -> None:
    """Raise UserError unless the name is that of a folder inside `runs_dir`."""
    if not runs_dir:
        raise UserError("runs_dir= is empty")
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"name={name} must name a folder inside {runs_dir}/")
