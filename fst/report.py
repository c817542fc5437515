"""What reports are made of: Markdown tables, lists of names, progress, and the command line."""

import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from fst.terminal import visible

Progress: TypeAlias = Callable[[str, float, float], None]
"""Called with the present step in words, how much is done, and how much there is, in any unit."""
_NAMED = 8
"""At most this many names are listed."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [_table_line(header), "|" + "---|" * len(header), *map(_table_line, rows)]


def _table_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(visible(cell).replace("|", r"\|") for cell in cells) + " |"


def number(value: float | None, form: str, unit: str = "") -> str:
    """Return a number as a table cell, empty if it is unknown."""
    return "" if value is None else f"{value:{form}}{unit}"


def few(names: Sequence[str]) -> str:
    """Return the first names, comma-separated, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def command_line() -> str:
    """Return the running command as it can be typed again."""
    return visible(
        shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "fst"), *sys.argv[1:]])
    )
