"""The machine: its name, its limits, and the seconds and memory that something takes on it."""

import ctypes
import ctypes.util
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.device import DTYPES, computes_bf16


@dataclass
class Machine:
    """A machine and the best rates measured on it."""

    name: str
    threads: int
    torch: str
    matmul_gflops: dict[str, float]
    """The best rate of a square matmul, by dtype."""
    copy_gigabytes_per_second: float | None
    """The best rate of a copy on a GPU, reads and writes counted."""

    @property
    def summary(self) -> str:
        """The machine and its best rates, in one line."""
        peaks = ", ".join(f"{name} {value:,.0f}" for name, value in self.matmul_gflops.items())
        copied = self.copy_gigabytes_per_second
        bandwidth = f"; copies {copied:,.0f} GB/s" if copied else ""
        return (
            f"{self.name}, {self.threads} threads, torch {self.torch}; best matmul here, "
            f"GFLOPS: {peaks}{bandwidth}"
        )

    def matmul_share(self, flops: float, seconds: float) -> float:
        """Return the rate of floating-point operations, relative to that of the best matmul."""
        return flops / seconds / 1e9 / max(self.matmul_gflops.values())


def measure_machine(device: torch.device) -> Machine:
    """Measure the best rates of matmuls and copies."""
    matmul = {}
    side = 8192 if device.type == "cuda" else 2048
    for name, dtype in DTYPES.items():
        if device.type == "cpu" and (
            name == "fp16" or (name == "bf16" and not computes_bf16(device))
        ):
            continue  # emulated, which takes minutes
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        fastest = min(seconds_of(device, a.matmul, b) for _ in range(8))
        matmul[name] = 2 * side**3 / fastest / 1e9
    copied = None
    if device.type == "cuda":
        block = torch.empty(2**30, dtype=torch.uint8, device=device)
        fastest = min(seconds_of(device, block.clone) for _ in range(8))
        copied = 2 * block.numel() / fastest / 1e9
    return Machine(machine_name(device), torch.get_num_threads(), torch.__version__, matmul, copied)


def with_peak_memory(run: Callable[[Tensor], Tensor], image: Tensor) -> tuple[Tensor, float | None]:
    """Return the result of a pass and its peak memory in MB, if the system reports it."""
    if image.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(image.device)
        before = torch.cuda.memory_allocated(image.device)
        result = run(image)
        return result, (torch.cuda.max_memory_allocated(image.device) - before) / 1e6
    marks = Path("/proc/self/clear_refs")
    if not os.access(marks, os.W_OK):
        return run(image), None
    if (libc := ctypes.util.find_library("c")) is not None:
        ctypes.CDLL(libc).malloc_trim(0)  # else freed memory is reused, uncounted
    marks.write_text("5", encoding="utf-8")  # resets the high-water mark
    before = _status_kilobytes("VmRSS")
    result = run(image)
    return result, (_status_kilobytes("VmHWM") - before) / 1e3


def _status_kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def machine_line(device: torch.device) -> str:
    """Return the machine's description: the device's name, threads and torch's version."""
    return f"{machine_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def machine_name(device: torch.device) -> str:
    """Return the name that a device's maker gave it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()


def _cpu_name() -> str:
    # psutil does not know it, and platform.processor() is empty on Linux.
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
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
