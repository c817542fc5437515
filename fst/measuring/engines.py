"""The engines that the benchmark compares: each runs one network at one size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fst.device import DTYPES, fast_dtype
from fst.models.export import export_model
from fst.models.export_options import ExportOptions
from fst.models.model_file import read_model
from fst.models.model_ref import ModelRef
from fst.models.runtime import EXPORTED
from fst.networks.plain import plain
from fst.networks.transformer import TransformerNetwork
from fst.stylizing.stylizer import Stylizer

REFERENCE = "reference"
"""A plain fp32 eager pass of the network as in the paper, NCHW: the baseline of all others."""
Runner = Callable[[Tensor], Tensor]


@dataclass
class Case:
    """What an engine has to run."""

    network: TransformerNetwork
    """In fp32, on the CPU; engines copy it."""
    model: Path
    """The same network as a file."""
    size: tuple[int, int]
    device: torch.device
    folder: Path
    """For temporary files of this case."""


def eager(dtype: str, compiled: bool = False) -> Callable[[Case], Runner]:
    """Return a factory of our own path in torch, in `auto`, `fp32`, `bf16` or `fp16`."""

    def make(case: Case) -> Runner:
        model = read_model(case.model)
        chosen = fast_dtype(case.device) if dtype == "auto" else DTYPES[dtype]
        stylizer = Stylizer(model.stylizer, model.info, case.device, chosen)
        if compiled:
            stylizer.compile()
        return lambda image: stylizer.network(image.to(stylizer.dtype)).float()

    return make


def reference(case: Case) -> Runner:
    """Return the plain pass."""
    return plain(case.network).to(case.device)


def export_to(suffix: str, half: bool) -> Callable[[Case], Runner]:
    """Return a factory that exports the network and runs the file; a `.pt2` for one size only."""

    def make(case: Case) -> Runner:
        path = case.folder / f"{'half' if half else 'full'}{suffix}"
        size = "x".join(map(str, case.size)) if suffix == ".pt2" else None
        options = ExportOptions(half=half, size=size, device=str(case.device))
        export_model(ModelRef(case.model), path, options)
        return EXPORTED[suffix](path, "auto" if suffix == ".pt2" else str(case.device))

    return make


def openvino(case: Case) -> Runner:
    """Return OpenVINO's runtime on the exported ONNX file, in the precision it chooses."""
    try:
        import openvino
    except ImportError as error:
        raise ImportError("openvino is not installed: pip install openvino") from error
    path = case.folder / "openvino.onnx"
    export_model(ModelRef(case.model), path)
    request = openvino.Core().compile_model(path, "CPU").create_infer_request()

    def run(image: Tensor) -> Tensor:
        return torch.from_numpy(request.infer({0: image.numpy(force=True)})[0])

    return run


ENGINES: dict[str, Callable[[Case], Runner]] = {
    REFERENCE: reference,
    "fst": eager("auto"),
    "fst-fp32": eager("fp32"),
    "fst-compiled": eager("auto", compiled=True),
    "pt2": export_to(".pt2", half=False),
    "pt2-half": export_to(".pt2", half=True),
    "onnxruntime": export_to(".onnx", half=False),
    "onnxruntime-half": export_to(".onnx", half=True),
    "openvino": openvino,
}
"""Factories by engine name. `fst` is what stylizing uses by default."""
