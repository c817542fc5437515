"""Devices: which one to compute on, in which dtype, its free memory, and compilers for it."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fst.cache import prepare_caches, refuse_blanks
from fst.errors import UserError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The names of dtypes, as flags, configurations and exported files use them."""


KINDS = ("cpu", "cuda", "mps", "xpu")
"""The kinds of device that compute; torch knows more, such as `meta`, which has no numbers."""


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype in `DTYPES`."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; `auto` takes CUDA, else MPS, else the CPU.

    `cuda` is the device of this process under torchrun.

    Raises:
        UserError: there is no such device, or not here.
    """
    if name != "auto" and name.partition(":")[0] not in KINDS:
        raise UserError(
            f"device {name!r} is unknown; choose one of auto, {', '.join(KINDS)}, or cuda:1"
        )
    if name == "auto":
        name = "cpu"
        if torch.cuda.is_available():
            name = "cuda"
        elif torch.backends.mps.is_available():
            name = "mps"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} is not available: {reason}") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the fastest dtype of a device whose results look like those of fp32.

    fp16 on CUDA, bf16 on CPUs with instructions for it: the difference to fp32 is less than the
    rounding of a photograph to 8 bits.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if computes_bf16(device) else torch.float32


def check_dtype(name: str) -> None:
    """Raise UserError unless the name is `auto` or one of `DTYPES`."""
    if name not in ("auto", *DTYPES):
        raise UserError(f"dtype={name} is unknown; choose one of auto, {', '.join(DTYPES)}")


def inference_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype to run a network in: `auto` is the device's fastest."""
    return fast_dtype(device) if name == "auto" else DTYPES[name]


def training_precision(wanted: str, device: torch.device) -> str:
    """Return the precision to train in: `auto` is `bf16` where it is fast, else `fp32`."""
    if wanted != "auto":
        return wanted
    return "bf16" if computes_bf16(device) else "fp32"


def computes_bf16(device: torch.device) -> bool:
    """Return whether the device has instructions for bf16: emulated, it is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(has.get("avx512_bf16") or has.get("amx_tile"))


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return the context that computes in a dtype of `DTYPES`; `fp32` leaves everything as it is.

    It also ends an autocast around it when the precision is `fp32`.
    """
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


_tf32_lock = threading.Lock()
_tf32_within: list[bool] = []
"""What the contexts that are open allow; the flags are those of the process."""
_tf32_before: tuple[str, bool] | None = None


@contextmanager
def tf32(device: torch.device, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 (a 10-bit mantissa) in fp32 matmuls and convolutions within a context.

    By default torch forbids it in matmuls and allows it in cuDNN's convolutions. Devices other than
    CUDA are unaffected. The flags are those of the process: while contexts of several threads are
    open, one that forbids it prevails, and the last to close restores what was before the first.
    """
    if device.type != "cuda":  # the same setting can change results on CPUs
        yield
        return
    _change_tf32(_tf32_within.append, allowed)
    try:
        yield
    finally:
        _change_tf32(_tf32_within.remove, allowed)


def _change_tf32(change: Callable[[bool], None], allowed: bool) -> None:
    """Open or close a context of `tf32`, and set the flags as those that are open ask."""
    global _tf32_before
    with _tf32_lock:
        # Not the newer `fp32_precision`: torch refuses a mixture, and its compiler reads these.
        if not _tf32_within:
            _tf32_before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        change(allowed)
        assert _tf32_before is not None
        all_allow = all(_tf32_within)
        matmuls, convolutions = ("high" if all_allow else "highest"), all_allow
        if not _tf32_within:
            matmuls, convolutions = _tf32_before
        torch.set_float32_matmul_precision(matmuls)
        torch.backends.cudnn.allow_tf32 = convolutions


def prepare_compiler(device: torch.device) -> None:
    """Have torch keep compiled code in the cache folder.

    Raises:
        UserError: there is no C++ compiler, which the CPU needs, or the cache's path has spaces.
    """
    prepare_caches()
    refuse_blanks()
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise UserError(f"compiling for the CPU needs a C++ compiler: install {compiler}")


def available_bytes(device: torch.device) -> float:
    """Return how much memory a device has free, within the limit of a container if there is one."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    import psutil  # only long trainings ask

    return float(min([psutil.virtual_memory().available, *_container_bytes()]))


def _container_bytes(cgroup: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return what is left of the container's own limit: one number, or none without a limit."""
    try:
        limit = (cgroup / "memory.max").read_text(encoding="utf-8").strip()
        used = int((cgroup / "memory.current").read_text(encoding="utf-8"))
        lines = (cgroup / "memory.stat").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    if not limit.isdecimal():  # "max"
        return []
    # Cached files count as used, but make room when memory is asked for.
    cached = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return [max(0, int(limit) - used + cached)]
