"""How good super-resolution models are, on pictures that are downscaled first.

The protocol, which `PROTOCOL` puts into words for the report, is the customary one of the field.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import ImageMode
from torch import Tensor

from fst.atomic import write_texts
from fst.errors import UserError
from fst.models.model_name import split_models
from fst.models.model_ref import find_model
from fst.networks.downscale import Downscale
from fst.pictures.fidelity import gmsd, psnr, ssim
from fst.pictures.formats import is_picture, open_picture
from fst.pictures.image import enlarge_bicubic, files_below, in_8_bits, read_image, write_image
from fst.pictures.sheet import labelled_sheet
from fst.report import Progress, table
from fst.upscaling.enlarger import Enlarger, open_enlarger

PROTOCOL = (
    "Pictures are cropped to a multiple of the factor, downscaled by it (antialiased bicubic, "
    "rounded to 8 bits; blurred first for models trained that way), enlarged and rounded to 8 "
    "bits. PSNR, SSIM and GMSD compare the luminance of BT.601 (16-235; single-channel files are "
    "compared by that channel) without a border of as many pixels as the factor; they are means "
    "over the pictures. GMSD is 0 for equal edges. Colour is the largest difference, over pictures "
    "and channels, between the mean of the result, downscaled, and that of its input, in levels "
    "of 255."
)
CROP_PX = 160
"""Side of the details on the sheet."""
SHOWN = 4
"""Pictures on the sheet."""


@dataclass
class UpscalingScore:
    """What a model reaches on the pictures of a folder; means, but for `colour`."""

    model: str
    factor: int
    folder: str
    pictures: int
    psnr: float
    """dB."""
    ssim: float
    gmsd: float
    colour: float
    """Levels of 255."""


def evaluate_upscalers(
    models: Sequence[str],
    folders: Sequence[Path],
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
) -> tuple[list[UpscalingScore], Tensor]:
    """Score models, and bicubic enlargement by their factors, on folders of pictures.

    Args:
        models: what `load_enlarger` takes; all of one factor share a sheet.
        folders: pictures at full resolution, at any depth.
        device: of the models.
        progress: called with what is measured, how much is done, and the total.

    Returns:
        The scores, and a sheet of details of the first pictures: bicubic, models, original.

    Raises:
        FileNotFoundError: a folder has no pictures.
        UserError: no model or folder is given, or a picture is too small.
    """
    if not models or not folders:
        raise UserError("give models and --photographs FOLDER")
    enlargers = {name: _exact(name, device) for name in split_models(",".join(models))}
    factors = list(dict.fromkeys(enlarger.factor for enlarger in enlargers.values()))
    pictures = {folder: _pictures(folder) for folder in folders}
    if len({folder.resolve().name for folder in pictures}) < len(folders):
        raise UserError("two folders of photographs have the same name")
    for file in (file for files in pictures.values() for file in files):
        _cut(file, max(factors))  # before minutes of work
    ways: list[tuple[str, int, Callable[[Tensor], Tensor]]] = [
        ("bicubic", factor, partial(enlarge_bicubic, factor=factor)) for factor in factors
    ]
    ways += [(name, enlarger.factor, enlarger) for name, enlarger in enlargers.items()]
    scores: list[UpscalingScore] = []
    columns: list[list[tuple[Tensor, Tensor]]] = []
    total = len(ways) * sum(map(len, pictures.values()))
    done = 0
    for name, factor, enlarge in ways:
        degradation = "bicubic"
        if isinstance(enlarge, Enlarger):
            degradation = enlarge.degradation
        downscale = Downscale(factor, degradation)
        columns.append([])
        for folder, files in pictures.items():
            found = []
            for file in files:
                progress(f"{name} x{factor}", done, total)
                done += 1
                figures, enlarged, original = _score(file, enlarge, downscale)
                found.append(figures)
                if folder == folders[0] and len(columns[-1]) < SHOWN:
                    columns[-1].append((_detail(enlarged), _detail(original)))
            figures = torch.stack(found)
            decibels, similarity, edges, _ = figures.mean(0).tolist()
            label, colour = folder.resolve().name, figures[:, 3].max().item()
            means = (decibels, similarity, edges)
            scores.append(UpscalingScore(name, factor, label, len(files), *means, colour))
    rows = [
        [*(column[number][0] for column in columns), columns[0][number][1]]
        for number in range(len(columns[0]))
    ]
    heads = [f"{name} x{factor}" for name, factor, _ in ways]
    return scores, labelled_sheet([*heads, "original"], rows)


def _exact(name: str, device: str) -> Enlarger:
    """Return a model in fp32, so that scores are those of any machine."""
    ref = find_model(name)
    return open_enlarger(ref, device, "auto" if ref.is_exported else "fp32")


def _score(
    file: Path, enlarge: Callable[[Tensor], Tensor], downscale: Downscale
) -> tuple[Tensor, Tensor, Tensor]:
    """Return PSNR, SSIM, GMSD and the difference in colour; the result; and the original."""
    factor, grey = downscale.factor, _is_grey(file)
    original = _cut(file, factor)
    small = in_8_bits(downscale(original))
    enlarged = in_8_bits(enlarge(small))
    quality = [measure(enlarged, original, factor, grey).mean() for measure in (psnr, ssim, gmsd)]
    colour = 255 * (downscale(enlarged) - small).mean((0, 2, 3)).abs().max().double()
    return torch.stack([*quality, colour]), enlarged, original


def _pictures(folder: Path) -> list[Path]:
    files = [file for file in files_below(folder) if is_picture(file)] if folder.is_dir() else []
    if not files:
        raise FileNotFoundError(f"{folder} is not a folder with pictures")
    return files


def _cut(file: Path, factor: int) -> Tensor:
    """Return the picture, (1, 3, H, W), without the rows and columns beyond a multiple."""
    picture = read_image(file)
    height, width = (length // factor * factor for length in picture.shape[-2:])
    if min(height, width) < 2 * factor + 16:
        raise UserError(
            f"{file} is too small to evaluate at x{factor}: use at least {2 * factor + 16} pixels "
            "a side"
        )
    return picture[..., :height, :width]


def _is_grey(file: Path) -> bool:
    """Return whether a file holds one channel, but for transparency."""
    with open_picture(file) as picture:
        return ImageMode.getmode(picture.mode).basemode == "L"


def _detail(image: Tensor) -> Tensor:
    """Return the middle of a picture."""
    top, left = (max(0, (length - CROP_PX) // 2) for length in image.shape[-2:])
    detail = image[..., top : top + CROP_PX, left : left + CROP_PX]
    below, beside = (CROP_PX - length for length in detail.shape[-2:])
    return F.pad(detail, (0, beside, 0, below), value=1.0)


def markdown(scores: Sequence[UpscalingScore], command: str) -> str:
    """Return the scores as a table, with the protocol and the command that measured them."""
    rows = [
        [
            score.model, f"x{score.factor}", score.folder, str(score.pictures),
            f"{score.psnr:.2f}", f"{score.ssim:.4f}", f"{score.gmsd:.4f}", f"{score.colour:.2f}",
        ]
        for score in scores
    ]  # fmt: skip
    header = ["model", "factor", "pictures of", "number", "PSNR (dB)", "SSIM", "GMSD", "colour"]
    return "\n".join([f"`{command}`", "", PROTOCOL, "", *table(header, rows), ""])


def write_upscaling_report(
    folder: Path, scores: Sequence[UpscalingScore], sheet: Tensor, command: str
) -> list[Path]:
    """Write upscaling.md, .json and .png into a folder; return them."""
    data = json.dumps([dataclasses.asdict(score) for score in scores], indent=1)
    texts = {"upscaling.md": markdown(scores, command), "upscaling.json": data}
    written, picture = write_texts(folder, texts), folder / "upscaling.png"
    write_image(sheet, picture)
    return [*written, picture]
