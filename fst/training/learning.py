"""New styles for a network of several: only their vectors are learnt."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fst.atomic import check_writable
from fst.config import (
    AnyStyleConfig,
    FolderDataConfig,
    MomentsLossConfig,
    PicturesConfig,
    SlimConfig,
)
from fst.config.checks import at_least
from fst.data.batches import content_batches, open_data, without_margin
from fst.data.leaves import draw_leaves
from fst.device import pick_device
from fst.errors import TrainingStoppedError, UserError
from fst.losses.loss_network import load_loss_network
from fst.losses.objective import Objective, towards
from fst.losses.pooling import RunningPool
from fst.losses.relative import MomentsLoss
from fst.losses.style_weight import adapt, missing_content
from fst.models.model import for_super_resolution
from fst.models.model_file import read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import ModelRef
from fst.models.style_choice import predict_code, read_painting
from fst.networks.palette import colours_of
from fst.networks.styled import StyledNetwork, in_style, style_vector, stylize_with
from fst.networks.upscaler import Upscaler
from fst.pictures.image import to_unit_range, write_image
from fst.pictures.sheet import styles_sheet
from fst.report import Progress
from fst.training.run import MAX_IN_A_ROW
from fst.training.style_pictures import open_styles

CODE_RATE = 0.2
RESIDUAL_RATE = 0.05
"""Adam's learning rates of the code and of the residual at the beginning; both fall to 0."""
TRIALS = 2
"""Photographs on which the known styles are tried as a start."""
CROP_PX = 128
"""Side of what the loss sees. Training a network's own weights needs larger crops, but scales and
shifts are found from these as well, in a quarter of the time."""
MARGIN_PX = FolderDataConfig.margin_px
SIZE_PX, SIZE_OF_ANY_PX = PicturesConfig.size_px, AnyStyleConfig.size_px
SHOWN = 4
SHOWN_PX = 256
"""Photographs on the sheet of what was learnt: how many, and their side without the margin."""


@dataclass
class Learnt:
    """A style that was learnt."""

    code: Tensor
    residual: Tensor
    started_from: int | None
    """The number of the known style that was the closest; None where it was predicted."""
    terms: dict[str, float]
    """The loss's terms, means over the last tenth of the images; the palette is fitted after."""
    skipped: int
    """Photographs whose gradient is infinite or NaN, from which nothing was learnt."""


def add_styles(
    ref: ModelRef,
    pictures: Sequence[str],
    photographs: Path | None,
    output: Path,
    images: int = 100,
    size_px: int | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[StyleInfo]:
    """Write a model with further styles, and beside it a sheet of them.

    Args:
        ref: a model of several styles, all of it.
        pictures: the new styles' pictures, or folders of them.
        photographs: a folder; None draws pictures instead (`fst.data.leaves`).
        output: the file to write; the sheet has its name and `.sheet.jpg`.
        images: how many photographs are seen for each style.
        size_px: the style picture's shorter side when it is measured; None takes `SIZE_OF_ANY_PX`
            for a model with a predictor, else `SIZE_PX`.
        device: `cuda`, `cpu` ...; see `pick_device`.
        overwrite: replace `output` if it exists.
        progress: called after each image.
        tell: called with a line about what is learnt on, and where photographs were skipped.

    Returns:
        What is known of the new styles.

    Raises:
        FileNotFoundError: the model, a picture or the photographs are missing.
        FileExistsError: `output` or its sheet exists.
        OSError: they cannot be written; nothing is learnt then.
        UserError: the model has one style, has a style of such a name already, or a picture cannot
            be read.
        TrainingStoppedError: the gradient of too many images in a row is not finite.
    """
    _check(photographs, output, images, size_px, overwrite)
    chosen_device = pick_device(device)
    model = read_model(ref.path)
    network, info = model.network, model.info
    if ref.choice:
        raise UserError(f"a style is added to the whole model: leave out :{ref.choice}")
    if not isinstance(network, StyledNetwork):
        raise _of_one_style(network, ref.path)
    default_px = SIZE_OF_ANY_PX if info.predictor_px else SIZE_PX
    styles = open_styles(pictures, size_px or default_px, chosen_device)
    if taken := {style.name for style in info.styles} & {style.name for style in styles}:
        raise UserError(f"{ref.path} has a style {min(taken)} already: rename the picture")
    for file in (output, sheet_of(output)):
        check_writable(file)
    config = MomentsLossConfig()
    layers = {config.content_layer, *config.style_layers}
    features = (
        load_loss_network(SlimConfig(), layers)
        .to(chosen_device)
        .to(memory_format=torch.channels_last)
    )
    network = network.to(chosen_device).to(memory_format=torch.channels_last)
    known, total = len(network.codes), images * len(styles)
    drawn = "drawn pictures, as there are no --photographs"
    tell(f"learning on {drawn if photographs is None else photographs}")
    for number, style in enumerate(styles):

        def show(done: int, terms: dict[str, float]) -> None:
            what = f"{style.name}: content {terms['content']:.2f}, style {terms['style']:.3f}"  # noqa: B023, called in this round
            progress(what, number * images + done, total)  # noqa: B023

        (path,), (picture,) = style.paths, style.pictures
        loss = towards(MomentsLoss(features, config), picture)
        contents = _contents(photographs, CROP_PX, images + TRIALS, chosen_device)
        predicted = None
        if info.predictor_px:
            predicted = predict_code(network, read_painting(path), info.predictor_px)
        learnt = learn_style(network, loss, contents, images, MARGIN_PX, predicted, show)
        if learnt.skipped:
            tell(
                f"{style.name}: {learnt.skipped} of {images} photographs skipped, as their "
                "gradient is infinite or NaN"
            )
        network = network.with_style(learnt.code, learnt.residual)
        colours = colours_of(network.network, picture)
        network.fit_palette(-1, colours, info.palette_share)
        info.styles.append(StyleInfo(style.name, str(path), learnt.terms))
        save_model(output, network.eval(), info)  # now: those learnt so far outlast a stop
    shown = list(_contents(photographs, SHOWN_PX, SHOWN, chosen_device))
    with torch.no_grad():
        results = [
            torch.cat([in_style(network, number)(x) for x in shown])
            for number in range(known, known + len(styles))
        ]
    by_name = {style.name: style.pictures[0].cpu() for style in styles}
    sheet = styles_sheet(by_name, torch.cat(shown).cpu(), [result.cpu() for result in results])
    write_image(sheet, sheet_of(output))
    return info.styles[known:]


def _check(
    photographs: Path | None, output: Path, images: int, size_px: int | None, overwrite: bool
) -> None:
    at_least("images", images, 1)
    if size_px is not None:
        at_least("size", size_px, 32)
    if photographs is not None and not photographs.is_dir():
        raise FileNotFoundError(f"--photographs {photographs} is not a folder")
    if output.suffix != ".safetensors":
        raise UserError(f"cannot write {output}: give a name that ends in .safetensors")
    for file in (output, sheet_of(output)):
        if file.exists() and not overwrite:
            raise FileExistsError(f"{file} exists: --overwrite replaces it")


def sheet_of(output: Path) -> Path:
    """Return the file of the sheet that is written beside a model."""
    return output.with_suffix(".sheet.jpg")


def _contents(
    photographs: Path | None, crop_px: int, count: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield what is stylized with its margins, (1, 3, S, S) in [0, 1].

    These are crops of a folder's photographs, as training makes them, or drawn pictures.
    """
    if photographs is None:
        for number in range(count):
            yield draw_leaves(number, crop_px + 2 * MARGIN_PX).to(device)
        return
    data = FolderDataConfig(path=str(photographs), crop_px=crop_px, heldout_images=0)
    for images, _ in content_batches(open_data(data, seed=0).train, 1, 0, count):
        yield to_unit_range(images.to(device))


def learn_style(
    network: StyledNetwork,
    loss: Objective,
    contents: Iterable[Tensor],
    images: int,
    margin_px: int,
    predicted: Tensor | None = None,
    progress: Callable[[int, dict[str, float]], None] = lambda done, terms: None,
) -> Learnt:
    """Learn the code and the residual of a style, starting close to it.

    That is what a predictor makes of the painting, or else the closest of the known styles.

    Args:
        network: what knows them; its own weights are frozen, not changed.
        loss: of the new style.
        contents: photographs, each (1, 3, S, S) in [0, 1], on the network's device.
        images: how many of them are seen.
        margin_px: what the network sees on each side of a photograph and the loss does not.
        predicted: the code (C,) that the network's predictor gives the painting; None where
            it has none.
        progress: called after each image with their number and the loss's terms.

    Raises:
        TrainingStoppedError: the gradient of too many images in a row is not finite.
    """
    network.requires_grad_(False)
    photographs = iter(contents)
    closest = None
    if predicted is None:
        tried = [next(photographs) for _ in range(TRIALS)]
        closest = _closest(network, loss, tried, margin_px)
        start = network.codes[closest], network.residuals[closest]
    else:
        start = predicted, torch.zeros_like(style_vector(network.network))
    code, residual = (each.clone().requires_grad_() for each in start)
    optimizer = torch.optim.Adam(
        [{"params": [code], "lr": CODE_RATE}, {"params": [residual], "lr": RESIDUAL_RATE}],
        betas=(0.9, 0.99),
    )
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: (1 + math.cos(math.pi * done / images)) / 2
    )
    default_strength = code.new_zeros(1)
    pool = RunningPool(loss)
    first = torch.zeros(1, dtype=torch.long, device=code.device)
    seen: list[dict[str, float]] = []
    skipped = in_a_row = 0
    for number, photograph in enumerate(itertools.islice(photographs, images), 1):
        vectors = network.map_codes(code[None], default_strength) + residual
        stylized = stylize_with(network.network, vectors, photograph)
        inner, content = (without_margin(x, margin_px) for x in (stylized, photograph))
        terms = loss(inner, content, first, pool)
        optimizer.zero_grad()
        terms["total"].sum().backward()
        if not nn.utils.clip_grad_norm_([code, residual], math.inf).isfinite():
            skipped, in_a_row = skipped + 1, in_a_row + 1
            if in_a_row == min(MAX_IN_A_ROW, images):
                raise TrainingStoppedError(
                    f"the gradient became infinite or NaN within {number} images"
                )
            continue
        in_a_row = 0
        optimizer.step()
        falling.step()
        pool.advance()
        missing = missing_content(loss.loss.config, terms["content"], first, 1)
        adapt(loss.weights, loss.loss.config, missing)
        values = torch.cat([*terms.values()]).tolist()
        seen.append(dict(zip(terms, values, strict=True)))
        progress(number, seen[-1])
    last = seen[-math.ceil(len(seen) / 10) :]
    means = {name: statistics.fmean(terms[name] for terms in last) for name in last[0]}
    return Learnt(code.detach(), residual.detach(), closest, means, skipped)


@torch.no_grad()
def _closest(
    network: StyledNetwork, loss: Objective, photographs: list[Tensor], margin_px: int
) -> int:
    """Return the number of the known style whose pictures the loss of the new one likes best."""
    targets = [loss.content_targets(without_margin(x, margin_px)) for x in photographs]
    totals = []
    for number in range(len(network.codes)):
        styles = torch.tensor([number], device=network.codes.device)
        losses = [
            loss.against(target, without_margin(network(x, styles), margin_px))["total"]
            for x, target in zip(photographs, targets, strict=True)
        ]
        totals.append(torch.cat(losses).mean())
    return int(torch.stack(totals).argmin())


def _of_one_style(network: nn.Module, path: Path) -> UserError:
    """Return the error for a model to which no style can be added."""
    if isinstance(network, Upscaler):
        return for_super_resolution(path)
    return UserError(
        f"{path} has one style, and learning needs a model of several styles (fst train "
        f"styles=...): fst train init={path} starts a model of its own from it"
    )
