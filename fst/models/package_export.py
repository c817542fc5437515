"""Writing `.pt2` packages: machine code by torch's AOTInductor."""

import io
from pathlib import Path

import torch

from fst.device import dtype_name, fast_dtype, pick_device, prepare_compiler
from fst.errors import UserError
from fst.models.export_info import ExportInfo, export_metadata
from fst.models.export_options import ExportOptions
from fst.models.model_info import ModelInfo
from fst.models.standalone import Standalone, example_input, open_dimensions
from fst.networks.plain import plain
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler


def export_package(
    path: Path, network: TransformerNetwork | Upscaler, info: ModelInfo, options: ExportOptions
) -> ExportInfo:
    """Compile the network to a `.pt2` with AOTInductor, for one kind of device."""
    chosen_device = pick_device(options.device)
    prepare_compiler(chosen_device)
    dtype = fast_dtype(chosen_device) if options.half else torch.float32
    precision = dtype_name(dtype)
    if options.half and dtype == torch.float32:
        raise UserError(f"{chosen_device} is no faster in half precision: omit --half")
    export = ExportInfo(
        precision, chosen_device.type, options.uint8, options.height_width, None, options.range
    )
    module = Standalone(plain(network), dtype, options).eval().to(chosen_device)
    module = module.to(memory_format=torch.channels_last)
    with torch.no_grad():
        program = torch.export.export(
            module,
            (example_input(options).to(chosen_device),),
            dynamic_shapes=(open_dimensions(options),),
        )
        content = io.BytesIO()  # torch's own writer reports a full disk as a RuntimeError
        # The way that torch documents: AOTInductor has no public name yet.
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=content,
            inductor_configs={
                "freezing": True,  # weights in the layout that suits the convolutions
                "aot_inductor.metadata": export_metadata(info, export),
                # The wrapper only calls kernels; optimising it took four fifths of the time.
                "aot_inductor.compile_wrapper_opt_level": "O1",
            },
        )
    path.write_bytes(content.getbuffer())
    return export
