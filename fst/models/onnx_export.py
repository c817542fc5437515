"""Writing `.onnx` files."""

from pathlib import Path

import torch
from torch import nn

from fst.models.export_info import ExportInfo, export_metadata
from fst.models.export_options import ExportOptions
from fst.models.model_info import ModelInfo
from fst.models.standalone import (
    Fp32Norm,
    Standalone,
    StandaloneBlend,
    example_input,
    open_dimensions,
    replace_modules,
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
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "exporting to ONNX needs extra packages: pip install 'fst-style-transfer[export]'"
        ) from error
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
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=["enlarged" if isinstance(network, Upscaler) else "stylized"],
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None
    export = ExportInfo(
        "fp16" if options.half else "fp32",
        "any",
        options.uint8,
        options.height_width,
        OPSET,
        options.range,
        options.blend,
    )
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, with paths of this machine
    program.model.metadata_props.update(export_metadata(info, export))
    kind = "super-resolution" if isinstance(network, Upscaler) else "a style"
    program.model.doc_string = f"{info.title}, {kind} by fst"
    program.save(str(path))
    return export
