"""`fst models`, `fst inspect` and `fst export`: which models there are, and what they hold."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fst.models.export_options import ExportOptions
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
    from fst.models.model_ref import find_model

    for name, value in inspect_model(find_model(model, note)).items():
        say(f"{name:<16} {value}")


def export(
    model: str,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    options: Annotated[ExportOptions, Parameter(name="*")] = ExportOptions(),  # noqa: B008, frozen
    photograph: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Export a model to one file that runs elsewhere, and check that its results agree.

    Args:
        model: A model file, a run folder or the name of a released model.
        output: The file: .onnx for onnxruntime, OpenCV, OpenVINO, TensorRT and browsers; .pt2 for
            torch without Python overhead, compiled for this kind of machine.
        options: What the file takes and returns.
        photograph: The picture to check it on; otherwise one that ships with fst.
        overwrite: Replace the file if it exists.
    """
    from fst.models.export import export_model
    from fst.models.model_ref import find_model

    agreements = export_model(
        find_model(model, note),
        output,
        options,
        photograph=photograph,
        overwrite=overwrite,
        say=note,
    )
    say("against the network in eager fp32 (pictures x height x width):")
    say(*agreements)
    say(f"{output} ({output.stat().st_size / 1e6:.2f} MB)")
