"""Writing `.onnx` files."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from fst.models.export_info import ExportInfo, export_metadata
from fst.models.export_options import ExportOptions
from fst.models.model_info import ModelInfo
from fst.models.standalone import (
    Fp32Norm,
    Standalone,
    StandaloneBlend,
    StandaloneStyled,
    example_input,
    open_dimensions,
    replace_modules,
    values_of,
)
from fst.networks.plain import plain
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler

OPSET = 18


def export_onnx(
    path: Path,
    network: TransformerNetwork | StyledNetwork | Upscaler,
    info: ModelInfo,
    options: ExportOptions,
) -> ExportInfo:
    """Write the network as ONNX, computed as in the papers, for any device."""
    dtype = torch.float16 if options.half else torch.float32
    inputs = {"image": example_input(options)}
    shapes = {"image": open_dimensions(options)}
    if isinstance(network, StyledNetwork):
        module: Standalone = StandaloneBlend(network, dtype, options)
        inputs["shares"] = torch.full((len(inputs["image"]), len(network.codes)), 0.5)
        shapes["shares"] = None if options.size else {0: torch.export.Dim.DYNAMIC}
    else:
        body = plain(network)
        if options.half:
            replace_modules(body, nn.InstanceNorm2d, Fp32Norm)
        module = Standalone(body, dtype, options)
    export = ExportInfo(
        "fp16" if options.half else "fp32",
        "any",
        options.uint8,
        options.height_width,
        OPSET,
        options.range,
        options.blend,
    )
    kind = "super-resolution" if isinstance(network, Upscaler) else "a style"
    output = "enlarged" if isinstance(network, Upscaler) else "stylized"
    about = f"{info.title}, {kind} by fst"
    write_onnx(path, module.eval(), inputs, shapes, output, about, export_metadata(info, export))
    return export


def export_styled(path: Path, styled: StyledNetwork, about: str) -> None:
    """Write a network of several styles as ONNX: pictures and the values of their styles go in."""
    options = ExportOptions()
    module = StandaloneStyled(styled, torch.float32, options)
    image = example_input(options)
    inputs = {"image": image, "values": values_of(styled)[:1].expand(len(image), -1)}
    shapes = {"image": open_dimensions(options), "values": {0: torch.export.Dim.DYNAMIC}}
    write_onnx(path, module.eval(), inputs, shapes, "stylized", about)


def write_onnx(
    path: Path,
    model: nn.Module,
    inputs: Mapping[str, Tensor],
    shapes: dict[str, Any],
    output: str,
    about: str,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write a model as ONNX.

    Args:
        path: the file.
        model: what to write, in evaluation mode.
        inputs: examples by name.
        shapes: the dynamic dimensions of each.
        output: the name of the only output.
        about: a line about the model.
        metadata: further texts by name.

    Raises:
        ImportError: the packages that write such files are not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "exporting to ONNX needs extra packages: pip install 'fst-style-transfer[export]'"
        ) from error
    program = torch.onnx.export(
        model,
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=[output],
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with paths of this machine
    program.model.metadata_props.update(metadata)
    program.model.doc_string = about
    program.save(str(path))
