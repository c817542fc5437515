"""`fst models`, `fst inspect` and `fst export`: which models there are, and what they hold."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from fst.errors import UserError
from fst.terminal import note, say


def models() -> None:
    """List the released models, which every command takes by name."""
    from fst.models.released import released_models

    rows = [("NAME", "TITLE", "NETWORK", "PARAMETERS", "SIZE", "LICENCE")]
    notes: list[list[str]] = [[]]
    for model in released_models():
        painting = ", ".join(filter(None, (model.title, model.artist, model.year)))
        size = f"{model.size_bytes / 1e6:.2f} MB"
        parameters = f"{model.parameters:,}"
        rows.append((model.name, painting, model.network, parameters, size, model.licence))
        names = ", ".join(model.styles)
        styles = f"{len(model.styles)} styles, {model.name}:STYLE: {names}" if names else ""
        takes = f"any painting, {model.name}:PAINTING.jpg" if model.takes_any else ""
        notes.append([model.note, styles, takes])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, about in zip(rows, notes, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())
        for line in filter(None, about):
            say(f"    {line}")


def inspect(model: str) -> None:
    """Show what a model file contains: .safetensors, .onnx, .pt2, or another project's .pth.

    Args:
        model: A model file, a run folder or the name of a released model.
    """
    from fst.models.inspection import inspect_model

    say_shadowed(model)
    for name, value in inspect_model(model).items():
        say(f"{name:<16} {value}")


def export(
    model: str,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    half: bool = False,
    uint8: bool = False,
    size: str | None = None,
    device: str = "auto",
    range: Literal[1, 255] = 1,
    blend: bool = False,
    photograph: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Export a model to one file that runs elsewhere, and check that its results agree.

    Args:
        model: A model file, a run folder or the name of a released model.
        output: The file: .onnx for onnxruntime, OpenCV, OpenVINO, TensorRT and browsers; .pt2 for
            torch without Python overhead, compiled for this kind of machine.
        half: Compute in half precision (fp16; in a .pt2 for the CPU bf16), fp32 in and out.
        uint8: Take and return bytes (N, H, W, 3) instead of floats (N, 3, H, W) in [0, 1].
        size: HEIGHTxWIDTH, for runtimes that need a fixed size; otherwise any size is accepted.
        device: What a .pt2 is compiled for: cuda, cpu ...
        range: The value of white in and out: 1, or 255 for OpenCV's own style transfer sample.
        blend: Keep all K styles of a model in the .onnx, with their shares, (N, K), as a second
            input.
        photograph: The picture to check it on; otherwise one that ships with fst.
        overwrite: Replace the file if it exists.
    """
    from fst.models.export import export_model

    height_width = None
    if size is not None:
        numbers = size.split("x")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise UserError(f"size={size} must be HEIGHTxWIDTH, such as 480x640")
        height_width = (int(numbers[0]), int(numbers[1]))
    say_shadowed(model)
    agreements = export_model(
        model,
        output,
        half=half,
        uint8=uint8,
        size=height_width,
        device=device,
        range_max=range,
        blend=blend,
        photograph=photograph,
        overwrite=overwrite,
        say=note,
    )
    say("against the network in eager fp32 (pictures x height x width):")
    say(*agreements)
    say(f"{output} ({output.stat().st_size / 1e6:.2f} MB)")


def say_shadowed(models: str) -> None:
    """Say which models are runs that have the name of a released model."""
    from fst.models.model_file import shadowed_release
    from fst.models.model_name import split_models

    for model in split_models(models):
        if line := shadowed_release(model):
            note(line)
