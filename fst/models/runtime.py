"""Exported models, `.onnx` and `.pt2`, opened as what they are: functions from picture to picture.

An ONNX file is data, run by onnxruntime with the best provider it has. A `.pt2` holds machine code
that torch's AOTInductor compiled: open only those that you trust, like any program.
"""

import dataclasses
import json
import logging
import zipfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.device import pick_device
from fst.errors import UserError, one_line
from fst.models.model_info import METADATA_KEY, ModelInfo, parse_info

EXPORT_KEY = "fst_export"
PROVIDERS = {
    "TensorrtExecutionProvider": "cuda",
    "CUDAExecutionProvider": "cuda",
    "OpenVINOExecutionProvider": "cpu",
    "CPUExecutionProvider": "cpu",
}
"""onnxruntime's providers, the fastest first, and the device that each is for."""


@dataclass
class ExportInfo:
    """How a file was exported."""

    precision: str
    """`fp32`, `fp16` or `bf16`: what the network computes in."""
    device: str = "any"
    """The kind of device that it was compiled for."""
    uint8: bool = False
    """Bytes (N, H, W, 3) in and out, instead of floats (N, 3, H, W) in [0, 1]."""
    size: tuple[int, int] | None = None
    """The only height and width it takes, in pixels; None takes any."""
    opset: int | None = None
    """The version of ONNX's operators."""


class ExportedNetwork:
    """An exported model: call it on (N, 3, H, W) in [0, 1] to have the same, stylized."""

    engine: str
    """What runs it, in words."""
    device: torch.device
    """Where it takes its pictures."""
    info: ModelInfo
    export: ExportInfo

    def __call__(self, image: Tensor) -> Tensor:
        """Stylize (N, 3, H, W), float in [0, 1].

        Raises:
            UserError: it takes one size only, and this is another.
        """
        if self.export.size not in (None, tuple(image.shape[-2:])):
            height, width = self.export.size or ()
            raise UserError(
                f"this model was exported for pictures of {height}x{width} (height x width) alone, "
                f"not {image.shape[-2]}x{image.shape[-1]}: use the .safetensors, or one exported "
                "without --size"
            )
        image = image.float()
        if not self.export.uint8:
            return self.run(image)
        pixels = image.mul(255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        return self.run(pixels).permute(0, 3, 1, 2).float() / 255

    @abstractmethod
    def run(self, image: Tensor) -> Tensor:
        """Run the file on what its input takes."""


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
        options.log_severity_level = 3  # errors; it warns of each provider that it falls back from
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # it raises classes of its own, derived from Exception
            raise UserError(f"{path} is damaged or no ONNX model: {one_line(error)}") from error
        used = self.session.get_providers()[0]
        if device not in ("auto", "cpu") and PROVIDERS.get(used) != "cuda":
            raise UserError(
                f"device={device}: onnxruntime can't use it here (it has "
                f"{', '.join(available)}); pip install onnxruntime-gpu"
            )
        self.info, self.export = _metadata(
            self.session.get_modelmeta().custom_metadata_map, path, "an ONNX model"
        )
        self.engine = f"onnxruntime, {used.removesuffix('ExecutionProvider')}"
        self.device = torch.device("cpu")  # onnxruntime copies to its provider by itself

    def run(self, image: Tensor) -> Tensor:
        """Run the session."""
        (result,) = self.session.run(None, {"image": image.numpy(force=True)})
        return torch.from_numpy(result)


class PackageNetwork(ExportedNetwork):
    """A `.pt2` package: the network as machine code, by torch's AOTInductor."""

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.info, self.export = _metadata(_package_metadata(path), path, "a .pt2 package")
        self.device = pick_device(self.export.device)
        if device != "auto" and torch.device(device).type != self.device.type:
            raise UserError(f"{path} was compiled for {self.device.type}, not {device}")
        # It warns that there is no CUDA, where none was asked for.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        try:
            self.package = torch._inductor.aoti_load_package(str(path))
        except Exception as error:  # RuntimeError, and what the system's loader raises
            raise UserError(
                f"{path} can't be loaded here: {one_line(error)}; it was compiled for another "
                "machine or torch: export it again"
            ) from error
        self.engine = f"AOTInductor {self.export.precision} on {self.device}"

    def run(self, image: Tensor) -> Tensor:
        """Run the machine code."""
        result: Tensor = self.package(image.to(self.device).contiguous())
        return result


EXPORTED: dict[str, type[OnnxNetwork] | type[PackageNetwork]] = {
    ".onnx": OnnxNetwork,
    ".pt2": PackageNetwork,
}
"""How each kind of exported file is opened, by suffix."""


def export_metadata(info: ModelInfo, export: ExportInfo) -> dict[str, str]:
    """Return what an exported file says of itself, as names and texts."""
    return {
        METADATA_KEY: json.dumps(dataclasses.asdict(info), sort_keys=True),
        EXPORT_KEY: json.dumps(dataclasses.asdict(export), sort_keys=True),
    }


def _metadata(found: dict[str, str], path: Path, what: str) -> tuple[ModelInfo, ExportInfo]:
    if METADATA_KEY not in found or EXPORT_KEY not in found:
        raise UserError(
            f"{path} is {what}, but not one that `fst export` wrote: it does not say so"
        )
    try:
        values = json.loads(found[EXPORT_KEY])
        values["size"] = tuple(values["size"]) if values["size"] else None
        export = ExportInfo(**values)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} has damaged metadata: {error}") from error
    return parse_info(found[METADATA_KEY], path), export


def _package_metadata(path: Path) -> dict[str, Any]:
    """Read the package's own account of itself, running nothing of it."""
    try:
        with zipfile.ZipFile(path) as package:
            if (damaged := package.testzip()) is not None:
                raise UserError(f"{path} is damaged: {damaged} is not what was written")
            names = [name for name in package.namelist() if name.endswith("wrapper_metadata.json")]
            found = json.loads(package.read(names[0])) if names else {}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"{path} is damaged or no .pt2 package: {error}") from error
    return dict(found)
