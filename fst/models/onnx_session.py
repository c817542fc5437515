"""An ONNX file in onnxruntime, with bounds on its memory and time: it may come from anywhere."""

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from fst.errors import UserError, one_line
from fst.models.onnx_graph import refuse_unbounded

PATIENCE_S = {"CPUExecutionProvider": 20.0}
"""How long loading, or a small picture, may take by provider. Others may compile for minutes."""
COMPILING_S = 1800.0
SECONDS_PER_PIXEL = 1e-4
"""In addition, per pixel of the result: twenty times what Johnson's network takes on one core."""
BASE_BYTES = 500_000_000
BYTES_PER_PIXEL = 512
"""The memory that onnxruntime may take on the CPU, the latter beside the root of the file's size:
features grow with the width of a network, weights with its square. `johnson` takes 1.4 kB per pixel
of the 3.1 that it may, `fast` 0.4 of 1.8."""
_FIRST_PIXELS = 2**16
_allocators = threading.Lock()  # onnxruntime has them once per process


class OnnxSession:
    """A file that onnxruntime runs. Several threads may run it."""

    def __init__(self, path: Path, providers: list[str]) -> None:
        """Load a file.

        Args:
            path: the file.
            providers: names of onnxruntime's providers, the preferred first.

        Raises:
            UserError: it is damaged, not an ONNX model, or exceeds its bounds.
        """
        refuse_unbounded(path)
        self._path = path
        self._providers = providers
        self._patience_s = PATIENCE_S.get(providers[0], COMPILING_S)
        self._growing = threading.Lock()
        self._pixels = _FIRST_PIXELS
        self._session = self._load()

    @property
    def provider(self) -> str:
        """What runs it."""
        return str(self._session.get_providers()[0])

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says about itself, as names and texts."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> list[Any]:
        """The `name`, `type` and `shape` of each input."""
        return list(self._session.get_inputs())

    @property
    def outputs(self) -> list[Any]:
        """The `name`, `type` and `shape` of each output."""
        return list(self._session.get_outputs())

    def run(self, inputs: dict[str, np.ndarray], pixels: int) -> np.ndarray:
        """Return the only output.

        Args:
            inputs: by name.
            pixels: of the result, by which its memory and time are bounded.

        Raises:
            UserError: it fails, or exceeds its bounds.
        """
        import onnxruntime

        session = self._session_for(pixels)
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4  # what fails is raised
        seconds = self._patience_s + SECONDS_PER_PIXEL * pixels
        with _after(seconds, lambda: setattr(options, "terminate", True)):
            try:
                (result,) = session.run(None, inputs, options)
            except Exception as error:  # it raises classes of its own, derived from Exception
                raise UserError(f"{self._path} fails: {self._reason(error, seconds)}") from error
        return np.asarray(result)

    def _session_for(self, pixels: int) -> Any:
        """Return the session, loaded anew with more memory for a picture larger than any before."""
        with self._growing:
            if pixels > self._pixels:
                self._pixels = pixels
                self._session = self._load()
            return self._session

    def _load(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it warns about each fallback; what fails is raised
        options.add_session_config_entry("session.use_env_allocators", "1")
        cpu = onnxruntime.OrtMemoryInfo(
            "Cpu",
            onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            0,
            onnxruntime.OrtMemType.DEFAULT,
        )
        arena = onnxruntime.OrtArenaCfg({"max_mem": self._bytes()})
        stop = _after(self._patience_s, lambda: options.set_load_cancellation_flag(True))
        with _allocators, stop:
            # A session keeps the allocator that is registered when it is made.
            onnxruntime.create_and_register_allocator(cpu, arena)
            try:
                return onnxruntime.InferenceSession(
                    str(self._path), options, providers=self._providers
                )
            except Exception as error:
                reason = self._reason(error, self._patience_s)
                raise UserError(
                    f"{self._path} is damaged or not an ONNX model: {reason}"
                ) from error

    def _bytes(self) -> int:
        per_pixel = BYTES_PER_PIXEL + math.isqrt(self._path.stat().st_size)
        wanted = BASE_BYTES + per_pixel * self._pixels
        return int(min(wanted, max(BASE_BYTES, psutil.virtual_memory().available)))

    def _reason(self, error: Exception, seconds: float) -> str:
        text = one_line(error)
        if re.search("terminate flag|canceled", text, re.IGNORECASE):
            return f"it was stopped after {seconds:.0f} s"
        if re.search("smaller than requested bytes|bad_alloc|Failed to allocate", text):
            return (
                f"it needs more than {self._bytes() / 1e9:.1f} GB of memory for this picture; if "
                "you trust it, use smaller pictures"
            )
        return re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)


@contextmanager
def _after(seconds: float, act: Callable[[], object]) -> Iterator[None]:
    """Act in another thread if the block takes longer than this."""
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
