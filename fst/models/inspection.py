"""What is known about a model file of any kind that fst reads."""

from pathlib import Path

from fst.models.export_info import ExportInfo, read_package
from fst.models.model_file import open_model, read_model
from fst.models.model_info import ModelInfo
from fst.models.model_name import chosen_shares, refuse_style
from fst.models.model_ref import ModelRef
from fst.models.runtime import EXPORTED
from fst.networks.cost import count_flops, count_parameters
from fst.networks.styled import StyledNetwork
from fst.networks.upscaler import Upscaler


def inspect_model(ref: ModelRef) -> dict[str, str]:
    """Return what is known about a model file, by name, in the order to show it.

    Nothing in the file is executed, not even the machine code of a `.pt2`.

    Raises:
        FileNotFoundError: the file is gone.
        ImportError: it is an ONNX model, and onnxruntime is not installed.
        UserError: the file is damaged or not a model.
    """
    path, style = ref.path, ref.choice
    facts = {"file": f"{path} ({path.stat().st_size / 1e6:.2f} MB)"}
    if ref.is_exported:
        info, export, engine = _inspect_exported(path)
        if not export.blend:
            refuse_style(path, style)
        elif style:
            chosen_shares(path, [each.name for each in info.styles], style)  # one that it has
        size = "x".join(map(str, export.size)) if export.size else "any"
        floats = f"float32 (N, 3, H, W) in [0, {export.range_max}]"
        kind = "uint8 (N, H, W, 3)" if export.uint8 else floats
        opset = f", opset {export.opset}" if export.opset else ""
        facts |= {
            "format": f"exported {path.suffix}{opset}, computes in {export.precision}",
            "input, output": f"{kind}, size {size}",
            "second input": f"shares, (N, {len(info.styles)})" if export.blend else "",
            "device": export.device,
            "runs in": engine,
        }
    else:
        model = open_model(ref) if style else read_model(path)
        network, info = model.network, model.info
        if isinstance(network, Upscaler):
            flops = count_flops(network, 512 // network.factor, 512 // network.factor)
        else:
            flops = count_flops(
                network.network if isinstance(network, StyledNetwork) else network, 512, 512
            )
        own = path.suffix == ".safetensors"
        facts |= {
            "format": f"fst model, version {info.format_version}" if own else "foreign state dict",
            "parameters": f"{count_parameters(network):,}",
            "work": f"{flops / 1e9:.1f} GFLOP for a result of 512x512",
        }
    return facts | _of_the_model(info)


def _inspect_exported(path: Path) -> tuple[ModelInfo, ExportInfo, str]:
    """Return what an exported file says, and the name of what runs it."""
    if path.suffix == ".pt2":  # machine code: opening it would run it
        return *read_package(path), "AOTInductor"
    network = EXPORTED[path.suffix](path)
    return network.info, network.export, network.engine


def _of_the_model(info: ModelInfo) -> dict[str, str]:
    arguments = ", ".join(f"{name}={value}" for name, value in info.network_arguments.items())
    losses = ", ".join(f"{name} {value:.3f}" for name, value in info.losses.items())
    facts = {
        "title": info.title,
        "network": f"{info.network} ({arguments})",
        "images seen": f"{info.seen_images:,}" if info.seen_images else "",
        "held-out losses": losses,
        "loss network": info.loss_network,
        **info.card,
        "licence": info.licence,
        "written by": f"fst {info.fst_version}",
        "styles": ", ".join(
            [style.name for style in info.styles]
            + ["any PAINTING.jpg or FOLDER"] * bool(info.predictor_px)
        ),
    }
    return {name: value for name, value in facts.items() if value}
