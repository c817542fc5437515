"""Runtimes of exported models, `.onnx` and `.pt2`: functions from picture to picture.

An ONNX file is data, run by onnxruntime with the best provider it has. A `.pt2` holds machine code
that torch's AOTInductor compiled: open only those that you trust, like any program.
"""

import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fst.device import pick_device
from fst.errors import UserError, one_line
from fst.models.export_info import ExportInfo, parse_metadata, read_package
from fst.models.model_info import ModelInfo
from fst.models.model_name import chosen_shares, refuse_style

PROVIDERS = {
    "TensorrtExecutionProvider": "cuda",
    "CUDAExecutionProvider": "cuda",
    "OpenVINOExecutionProvider": "cpu",
    "CPUExecutionProvider": "cpu",
}
"""onnxruntime's providers, the fastest first, and the device that each is for."""


class ExportedNetwork(ABC):
    """An exported model: call it on (N, 3, H, W) in [0, 1] for its result."""

    engine: str
    """The name of what runs it."""
    device: torch.device
    """The device of its input."""
    info: ModelInfo
    export: ExportInfo
    shares: Tensor | None = None
    """Of a file that blends, (K,): the shares of its styles."""

    def __call__(self, image: Tensor) -> Tensor:
        """Return the result for (N, 3, H, W), float in [0, 1].

        Raises:
            UserError: the picture does not have the size that the model was exported for.
        """
        if self.export.size not in (None, tuple(image.shape[-2:])):
            height, width = self.export.size or ()
            raise UserError(
                f"this model was exported for pictures of {height}x{width} only (height x width), "
                f"not {image.shape[-2]}x{image.shape[-1]}: use the .safetensors, or export it "
                "without --size"
            )
        image = image.float()
        if not self.export.uint8:
            return self.run(image * self.export.range_max) / self.export.range_max
        pixels = image.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        return self.run(pixels).permute(0, 3, 1, 2).float() / 255

    @abstractmethod
    def run(self, image: Tensor) -> Tensor:
        """Run the file on an input of the kind that it was exported for."""


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
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: it warns about each fallback
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # it raises classes of its own, derived from Exception
            raise UserError(f"{path} is damaged or not an ONNX model: {one_line(error)}") from error
        used = self.session.get_providers()[0]
        if device not in ("auto", "cpu") and PROVIDERS.get(used) != "cuda":
            raise UserError(
                f"device={device}: onnxruntime cannot use it here (available: "
                f"{', '.join(available)}); pip install onnxruntime-gpu"
            )
        self.info, self.export = parse_metadata(
            self.session.get_modelmeta().custom_metadata_map, path, "an ONNX model"
        )
        names = [given.name for given in self.session.get_inputs()]
        if self.export.blend != ("shares" in names):
            raise UserError(f"{path} has damaged metadata: its inputs are {', '.join(names)}")
        self.engine = f"onnxruntime, {used.removesuffix('ExecutionProvider')}"
        self.device = torch.device("cpu")  # onnxruntime copies to its provider by itself

    def run(self, image: Tensor) -> Tensor:
        """Run the session."""
        inputs = {"image": image.numpy(force=True)}
        if self.shares is not None:
            inputs["shares"] = self.shares.expand(len(image), -1).numpy(force=True)
        (result,) = self.session.run(None, inputs)
        return torch.from_numpy(result)


class PackageNetwork(ExportedNetwork):
    """A `.pt2` package: the network as machine code, by torch's AOTInductor."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.info, self.export = read_package(path)
        self.device = pick_device(self.export.device)
        if device != "auto" and torch.device(device).type != self.device.type:
            raise UserError(f"{path} was compiled for {self.device.type}, not {device}")
        # It warns that there is no CUDA even if none was requested.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        try:
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


EXPORTED: dict[str, type[OnnxNetwork] | type[PackageNetwork]] = {
    ".onnx": OnnxNetwork,
    ".pt2": PackageNetwork,
}
"""The runtime of each kind of exported file, by suffix."""
