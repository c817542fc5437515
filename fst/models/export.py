"""Exporting a model to one file that runs elsewhere, and checking that its pictures are the same.

>>> for agreement in export_model(find_model("the_scream"), Path("scream.onnx")): print(agreement)
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.atomic import replacing
from fst.errors import UserError
from fst.models.export_info import ExportInfo
from fst.models.export_options import ExportOptions
from fst.models.model import Model
from fst.models.model_file import open_model, read_model
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef
from fst.models.onnx_export import export_onnx
from fst.models.package_export import export_package
from fst.models.runtime import EXPORTED
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler
from fst.pictures.image import read_image, resize

SHAPES = ((1, 64, 64), (1, 65, 67), (1, 241, 319), (3, 128, 96), (1, 5, 31))
"""Number of pictures, height and width of the test inputs for an exported file."""
FLOOR_DB = {"fp32": 50.0, "fp16": 30.0, "bf16": 30.0}
"""The least PSNR to eager fp32, by precision: exports below it are rejected."""


@dataclass
class Agreement:
    """How an exported file's picture compares with that of the network in eager fp32."""

    shape: tuple[int, int, int]
    """Pictures, height and width."""
    largest: float
    """The largest difference, of values in [0, 1]."""
    psnr_db: float
    """The peak signal-to-noise ratio."""

    @classmethod
    def of(cls, result: Tensor, expected: Tensor) -> "Agreement":
        """Compare two results (N, 3, H, W)."""
        difference = (result - expected).abs()
        mean_square = difference.double().square().mean().item()
        psnr = -10 * math.log10(mean_square) if mean_square else math.inf
        if math.isnan(psnr):
            psnr = -math.inf  # worse than any
        pictures, _, height, width = expected.shape
        return cls((pictures, height, width), difference.max().item(), psnr)

    def __str__(self) -> str:
        pictures, height, width = self.shape
        size = f"{pictures} x {height}x{width}"
        return f"{size:>13}: largest difference {self.largest:.1e}, PSNR {self.psnr_db:.1f} dB"


def export_model(
    model: ModelRef,
    output: Path,
    options: ExportOptions = ExportOptions(),  # noqa: B008, it is frozen
    *,
    photograph: Path | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> list[Agreement]:
    """Write a model as `.onnx` or `.pt2`, test it, and keep it if its pictures are the same.

    Args:
        model: what `find_model` returned.
        output: the file to write; its suffix selects the format.
        options: what the file takes and returns. A file for a blend takes the shares in the order
            of the model's styles; their sum should be 1. OpenCV's own sample for style transfer
            (samples/dnn/fast_neural_style.py) gives and expects 255 for white.
        photograph: the picture to test it on; None takes one that ships with the package.
        overwrite: replace `output` if it exists.
        say: called with a line of progress.

    Returns:
        The agreement with the network in eager fp32, at several sizes.

    Raises:
        FileExistsError: `output` exists.
        ImportError: the packages that write or run such files are not installed.
        UserError: an unknown suffix, an exported model, or the pictures differ.
    """
    if output.suffix not in EXPORTERS:
        raise UserError(
            f"cannot export to {output}: the suffix must be one of {', '.join(EXPORTERS)}"
        )
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists: --overwrite replaces it")
    if options.blend and output.suffix != ".onnx":
        raise UserError("--blend is for .onnx files")
    if model.is_exported:
        raise UserError(f"{model.path} is already exported: use the .safetensors it came from")
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as own:
        picture = read_image(photograph or own)
    read = _all_styles(model) if options.blend else open_model(model)
    network = read.network
    say(f"writing {output}" + (", which takes a minute or two" if output.suffix == ".pt2" else ""))
    with replacing(output) as temporary, quiet():
        export = EXPORTERS[output.suffix](temporary, network, read.info, options)
        say("comparing it with the network")
        compared = _blends(network) if isinstance(network, StyledNetwork) else [(network, None)]
        agreements = [
            agreement
            for alone, shares in compared
            for agreement in agree(temporary, alone, picture, options.height_width, shares)
        ]
        refuse_if_apart(str(output), agreements, export.precision)
    return agreements


def refuse_if_apart(name: str, agreements: Iterable[Agreement], precision: str = "fp32") -> None:
    """Raise UserError if one of the comparisons of a file, called `name`, is below its floor."""
    worst = min(agreements, key=lambda agreement: agreement.psnr_db)
    floor = FLOOR_DB[precision]
    if worst.psnr_db < floor:
        raise UserError(
            f"{name} was not kept because its pictures differ from the network's: {worst} "
            f"({precision} requires at least {floor:.0f} dB)"
        )


def _all_styles(ref: ModelRef) -> Model:
    model = read_model(ref.path)
    if not isinstance(model.network, StyledNetwork) or len(model.info.styles) < 2:
        raise UserError(f"--blend needs a model of several styles, and {ref.path} is not one")
    if ref.choice:
        raise UserError(f"--blend exports every style of the model: leave out :{ref.choice}")
    return model


def _blends(network: StyledNetwork) -> list[tuple[TransformerNetwork, Tensor]]:
    """Return the first style alone and all of them alike, as networks and as shares."""
    alike = torch.full((len(network.codes),), 1 / len(network.codes))
    first = torch.eye(len(network.codes))[0]
    return [(network.fold(shares), shares) for shares in (first, alike)]


def agree(
    path: Path,
    network: TransformerNetwork | Upscaler,
    picture: Tensor,
    size: tuple[int, int] | None = None,
    shares: Tensor | None = None,
) -> Iterator[Agreement]:
    """Compare an exported file with its network in eager fp32, at `SHAPES` or one size.

    Args:
        path: the file.
        network: in fp32 on the CPU.
        picture: (1, 3, H, W) in [0, 1].
        size: its height and width, if they are fixed.
        shares: (K,), for a file that takes them: those of which `network` is the blend.
    """
    exported = EXPORTED[path.suffix](path)
    exported.shares = shares
    for pictures, height, width in SHAPES if size is None else ((1, *size),):
        image = resize(picture, max(height, width))[..., :height, :width]
        image = (image * 255).round() / 255  # values that bytes can hold
        batch = torch.cat([image.roll(17 * number, 3) for number in range(pictures)])
        with torch.no_grad():
            expected = network(batch)
        yield Agreement.of(exported(batch).cpu(), expected)


EXPORTERS: dict[str, Callable[[Path, Any, ModelInfo, ExportOptions], ExportInfo]] = {
    ".onnx": export_onnx,
    ".pt2": export_package,
}
"""The exporter of each format, by suffix."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' warnings, which users cannot do anything about."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
