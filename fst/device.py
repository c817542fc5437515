"""Devices: which one to compute on, in which dtype, and compilers for it."""

import os
import shutil

import torch

from fst.cache import cache_dir

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return what a device computes fastest in, for pictures that look the same.

    fp16 on CUDA, bf16 on CPUs with instructions for it: the difference to fp32 is less than what
    the rounding of a photograph to 8 bits makes.
    """
    if device.type == "cuda":
        return torch.float16
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if device.type == "cpu" and has_bf16 else torch.float32


def prepare_compiler(device: torch.device) -> None:
    """Have torch keep what it compiles in the cache folder.

    Raises:
        ValueError: there is no C++ compiler, which the CPU needs.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise ValueError(f"compiling for the CPU needs a C++ compiler: install {compiler}")


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; `auto` is this process's CUDA device if there is one.

    Raises:
        ValueError: there is no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {name!r} can't be used here: {str(error).splitlines()[0]}"
        ) from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
