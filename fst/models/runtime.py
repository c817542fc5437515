"""Runtimes of exported models, `.onnx` and `.pt2`: functions from picture to picture.

An ONNX file is data, run by onnxruntime with the best provider it has, within bounds of memory and
time. A `.pt2` holds machine code that torch's AOTInductor compiled: open only those that you trust,
like any program.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.device import pick_device
from fst.errors import UserError, one_line
from fst.models.export_info import parse_metadata, read_package
from fst.models.exported import ExportedNetwork
from fst.models.model_name import chosen_shares, refuse_style
from fst.models.onnx_session import OnnxSession

PROVIDERS = {
    "TensorrtExecutionProvider": "cuda",
    "CUDAExecutionProvider": "cuda",
    "OpenVINOExecutionProvider": "cpu",
    "CPUExecutionProvider": "cpu",
}
"""onnxruntime's providers, the fastest first, and the device that each is for."""


class OnnxNetwork(ExportedNetwork):
    """An `.onnx` file in onnxruntime."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                f"{path} needs onnxruntime: pip install 'fst-style-transfer[onnx]' "
                "(or onnxruntime-gpu)"
            ) from error
        kinds = {"cpu"} if device == "cpu" else {"cpu", "cuda"}
        available = onnxruntime.get_available_providers()
        wanted = [name for name, kind in PROVIDERS.items() if name in available and kind in kinds]
        self.path = path
        self.session = OnnxSession(path, wanted)
        used = self.session.provider
        if device not in ("auto", "cpu") and PROVIDERS.get(used) != "cuda":
            raise UserError(
                f"device={device}: onnxruntime cannot use it here (available: "
                f"{', '.join(available)}); pip install onnxruntime-gpu"
            )
        self.info, self.export = parse_metadata(self.session.metadata, path, "an ONNX model")
        self._check_signature()
        self.engine = f"onnxruntime, {used.removesuffix('ExecutionProvider')}"
        self.device = torch.device("cpu")  # onnxruntime copies to its provider by itself

    def _check_signature(self) -> None:
        """Raise UserError unless inputs and output are those that the metadata describe."""
        kind = "tensor(uint8)" if self.export.uint8 else "tensor(float)"
        height, width = self.export.size or (None, None)
        image = (height, width, 3) if self.export.uint8 else (3, height, width)
        due: dict[str, tuple[str, tuple[int | None, ...]]] = {"image": (kind, image)}
        if self.export.blend:
            due["shares"] = ("tensor(float)", (len(self.info.styles),))
        inputs, outputs = self.session.inputs, self.session.outputs
        if {each.name for each in inputs} != due.keys() or len(outputs) != 1:
            found = ", ".join(each.name for each in inputs)
            raise UserError(
                f"{self.path} has damaged metadata: it has the inputs {found} and {len(outputs)} "
                f"outputs, not {' and '.join(due)} and 1"
            )
        for each in inputs:
            kind_due, shape = due[each.name]
            if each.type != kind_due or not _fits(each.shape, shape):
                raise UserError(
                    f"{self.path} has damaged metadata: its input {each.name} is {each.type} of "
                    f"{each.shape}, not {kind_due} of {['N', *(px or 'any' for px in shape)]}"
                )
        if outputs[0].type != kind:
            raise UserError(
                f"{self.path} has damaged metadata: its output is {outputs[0].type}, not {kind}"
            )

    def run(self, image: Tensor) -> Tensor:
        """Run the session."""
        inputs = {"image": image.numpy(force=True)}
        if self.shares is not None:
            inputs["shares"] = self.shares.expand(len(image), -1).numpy(force=True)
        pixels = image.numel() // 3 * self.factor**2
        return torch.from_numpy(self.session.run(inputs, pixels))


def _fits(found: list[Any], due: tuple[int | None, ...]) -> bool:
    """Say whether a declared shape, (N, ...), has these sizes, or leaves open what is None."""
    return len(found) == 1 + len(due) and all(
        not isinstance(px, int) if wanted is None else not isinstance(px, int) or px == wanted
        for px, wanted in zip(found[1:], due, strict=True)
    )


class PackageNetwork(ExportedNetwork):
    """A `.pt2` package: the network as machine code, by torch's AOTInductor."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.path = path
        self.info, self.export = read_package(path)
        self.device = pick_device(self.export.device)
        if device != "auto" and torch.device(device).type != self.device.type:
            raise UserError(f"{path} was compiled for {self.device.type}, not {device}")
        # It warns that there is no CUDA even if none was requested.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        try:
            # The way that torch documents: AOTInductor has no public name yet.
            self.package = torch._inductor.aoti_load_package(str(path))
        except Exception as error:  # RuntimeError, and what the system's loader raises
            raise UserError(
                f"{path} cannot be loaded here: {one_line(error)}; it was compiled for another "
                "machine or torch: export it again"
            ) from error
        self.engine = f"AOTInductor {self.export.precision} on {self.device}"

    def run(self, image: Tensor) -> Tensor:
        """Run the machine code."""
        result: Tensor = self.package(image.to(self.device).contiguous())
        return result


def open_exported(path: Path, device: str, dtype: str, choice: str | None) -> ExportedNetwork:
    """Return the runtime of an exported file.

    Args:
        path: the file.
        device: where to run it.
        dtype: `auto`.
        choice: of a file that blends, a style or shares of several; see `chosen_shares`. None
            chooses nothing, for a file that is not to be run.

    Raises:
        ImportError: it is an ONNX model, and onnxruntime is not installed.
        UserError: the file is damaged, there is no such device or style, or a dtype is chosen.
    """
    if dtype != "auto":
        raise UserError(f"dtype={dtype}: {path} has the dtype of its export; leave dtype out")
    pick_device(device)
    network = EXPORTED[path.suffix](path, device)
    if network.export.blend and choice is not None:
        names = [style.name for style in network.info.styles]
        shares = chosen_shares(path, names, choice)
        network.shares = torch.tensor([shares.get(name, 0.0) for name in names])
        network.info = replace(network.info, title=choice, styles=[])
    elif choice:
        refuse_style(path, choice)
    return network


EXPORTED: dict[str, Callable[..., ExportedNetwork]] = {
    ".onnx": OnnxNetwork,
    ".pt2": PackageNetwork,
}
"""The runtime of each kind of exported file, by suffix."""
