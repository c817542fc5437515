"""What reports are made of: Markdown tables, seconds, the machine, and the command line."""

import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

_NAMED = 8
"""At most this many names are listed."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [_table_line(header), "|" + "---|" * len(header), *map(_table_line, rows)]


def _table_line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def number(value: float | None, form: str, unit: str = "") -> str:
    """Return a number as a table cell, empty if it is unknown."""
    return "" if value is None else f"{value:{form}}{unit}"


def few(names: Sequence[str]) -> str:
    """Return the first names, comma-separated, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def command_line() -> str:
    """Return the running command as it can be typed again."""
    return shlex.join([Path(sys.argv[0]).name.replace("cli.py", "fst"), *sys.argv[1:]])


def machine_line(device: torch.device) -> str:
    """Return the machine's description: the device's name, threads and torch's version."""
    return f"{machine_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def machine_name(device: torch.device) -> str:
    """Return the name that a device's maker gave it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


def _cpu_name() -> str:
    # psutil does not know it, and platform.processor() is empty on Linux.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def seconds_of(device: torch.device, action: Callable[..., object], *arguments: Any) -> float:
    """Return how long an action takes, from an idle device until its work there is done."""
    _wait_for(device)
    start = time.perf_counter()
    action(*arguments)
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
