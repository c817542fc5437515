"""Checks of single values, each with a message that names the key."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fst.errors import UserError


def at_least(key: str, value: float, minimum: float) -> None:
    """Raise UserError unless the value is finite and at least `minimum`."""
    if not (value >= minimum and value < math.inf):
        raise UserError(f"{key}={value} must be at least {minimum}")


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


def valid_seed(seed: int) -> None:
    """Raise UserError unless the generators of both torch and NumPy accept the seed."""
    if not 0 <= seed < 2**63:
        raise UserError(f"seed={seed} must be in [0, 2^63)")


def chosen_by_group(group: str, chosen: Any) -> None:
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
