"""Gatys' method: the picture itself is optimised, on the loss that otherwise trains networks.

Gatys et al. 2016, section 2. Coarse to fine, as Gatys et al. 2017 ("Controlling perceptual factors
in neural style transfer", section 6) do it: large shapes are found where they are cheap to find.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fst.config import OptimizeConfig
from fst.device import autocast, available_bytes, pick_device, tf32
from fst.errors import TrainingStoppedError, UserError
from fst.gatys.tracking import PictureTracker
from fst.losses.loss_network import LossNetwork, load_loss_network
from fst.losses.objective import Objective, towards
from fst.losses.registry import LOSSES
from fst.pictures.image import PICTURE_SUFFIXES, read_image, resize, writable_suffix, write_image
from fst.pictures.sheet import labelled_sheet
from fst.pictures.works import LeftOut, about_left_out, read_works
from fst.stylizing.stylizer import load
from fst.training.run_folder import RunFolder
from fst.training.stopping import StopRequest

_HISTORY = 20
"""Pairs that L-BFGS keeps: 100 of them lower the objective no faster, and take memory."""
_PATIENCE = 10
"""Iterations over which `tolerance` is measured."""

OPTIMIZERS: dict[str, Callable[[Tensor, float], torch.optim.Optimizer]] = {
    # One evaluation per iteration and unit steps, as in the papers' code: a line search takes twice
    # as many evaluations and makes no more progress per iteration.
    "lbfgs": lambda image, _: torch.optim.LBFGS(
        [image], max_iter=1, history_size=_HISTORY, tolerance_grad=0, tolerance_change=0
    ),
    "adam": lambda image, rate: torch.optim.Adam([image], lr=rate, betas=(0.9, 0.99)),
}


def descend(
    loss: Objective,
    content: Tensor,
    start: Tensor,
    optimizer: str = "lbfgs",
    learning_rate: float = 0.02,
    precision: str = "fp32",
) -> Iterator[tuple[Tensor, dict[str, float]]]:
    """Yield a picture and its loss terms: first the start, then the result of each iteration.

    Projected L-BFGS as in Johnson et al. 2016, section 4.1: the picture is clipped to [0, 1] after
    each step. A step that more than doubles the lowest objective so far is undone, and the
    optimizer restarts from there.

    Args:
        loss: the objective is its `total`.
        content: (1, 3, H, W) in [0, 1].
        start: a picture of the same shape.
        optimizer: a name in `OPTIMIZERS`.
        learning_rate: Adam's.
        precision: `fp32`, or autocast to `bf16` or `fp16`.

    Raises:
        TrainingStoppedError: the objective of the start itself is not finite.
    """
    targets = loss.content_targets(content)
    # The picture is yielded, and changed once the next is asked for.
    image = start.clone(memory_format=torch.channels_last).requires_grad_()
    stepping = OPTIMIZERS[optimizer](image, learning_rate)
    best, lowest = start, math.inf
    while True:
        with (
            torch.enable_grad(),
            autocast(image.device, precision),
        ):
            terms = loss.against(targets, image)
        (gradient,) = torch.autograd.grad(terms["total"], image)
        values = dict(zip(terms, torch.cat([*terms.values()]).tolist(), strict=True))
        if values["total"] < lowest:
            best, lowest = image.detach().clone(), values["total"]
        elif not math.isfinite(lowest):
            raise TrainingStoppedError("the objective is not finite: lower the weights of the loss")
        elif not values["total"] <= 2 * lowest:  # not: >, which NaN is not
            with torch.no_grad():
                image.copy_(best)
            stepping = OPTIMIZERS[optimizer](image, learning_rate)
            continue
        yield image.detach(), values
        # Values that the gradient pushes out of range stay (Bertsekas 1982, projected Newton).
        held = ((image <= 0) & (gradient > 0)) | ((image >= 1) & (gradient < 0))
        image.grad = gradient.masked_fill(held, 0)
        stepping.step(partial(float, values["total"]))
        with torch.no_grad():
            image.clamp_(0, 1)


def optimize(config: OptimizeConfig, console: bool = False) -> int:
    """Optimise a picture as configured, and write it.

    Args:
        config: everything; `fst.config.OptimizeConfig` documents each field.
        console: print progress.

    Returns:
        0 when the picture is complete, else the number of the signal that stopped it; the picture
        is written in either case.

    Raises:
        UserError: a picture or weights file is unusable, the result exists already, or the
            picture needs more memory than is free.
        FileNotFoundError: VGG16 weights or the model of `init` are missing.
        TrainingStoppedError: the objective is not finite.
    """
    device = pick_device(config.device)
    folder = RunFolder(config.run_dir)
    result = Path(config.output) if config.output else folder.path / "stylized.png"
    writable_suffix(result)
    if result.exists() and not config.overwrite:
        raise UserError(f"{result} exists: use overwrite=true to replace it, or another name=...")
    if folder.model.exists():
        raise UserError(f"{folder.path} holds a training run: give this one another name=...")
    content = read_image(config.content).to(device)
    left_out: LeftOut = []
    styles = [
        [work.to(device) for _, work in read_works([path], left_out)] for path in config.styles
    ]
    layers = {config.loss.content_layer, *config.loss.style_layers}
    loss_network = load_loss_network(config.loss_network, layers).to(device)
    loss_network = loss_network.to(memory_format=torch.channels_last)
    shares = config.style_shares or [1.0] * len(styles)
    scale = config.size_px / min(content.shape[-2:])
    height, width = (round(length * scale) for length in content.shape[-2:])
    needed, there = needed_bytes(loss_network, config, height * width), available_bytes(device)
    if needed > there:
        raise UserError(
            f"size_px={config.size_px} ({width}x{height}) needs about {needed / 1e9:.1f} GB of "
            f"memory, but {there / 1e9:.1f} GB are free: use a smaller size"
            + (", or precision=bf16" if config.precision == "fp32" else "")
        )
    contents = [resize(content, px) for px in config.sizes_px]
    image = starting_picture(config, contents[0])

    with (
        tf32(device, allowed=True),
        folder.lock(),
        StopRequest() as stop,
        closing(
            PictureTracker(folder, config, [c[0, 0].numel() for c in contents], console)
        ) as tracker,
    ):
        if left_out:
            tracker.say(about_left_out(left_out))
        for px, content_here in zip(config.sizes_px, contents, strict=True):
            style_px = max(1, round(px * config.style_scale))
            scaled = [
                (resize(work, style_px), share / len(works))
                for works, share in zip(styles, shares, strict=True)
                for work in works
            ]
            loss = towards(LOSSES[config.loss.name](loss_network, config.loss), scaled)
            image = stretch(image, content_here)
            image = _optimize_one_size(loss, content_here, image, config, tracker, stop)
            if stop.signal:
                break
        write_image(image, result)
        sheet = labelled_sheet(["photograph", folder.path.name], [[content_here, image]])
        write_image(sheet, folder.contact_sheet)
        tracker.conclude(result, stopped=stop.signal is not None)
    return stop.signal or 0


def _optimize_one_size(
    loss: Objective,
    content: Tensor,
    start: Tensor,
    config: OptimizeConfig,
    tracker: PictureTracker,
    stop: StopRequest,
) -> Tensor:
    """Return the picture with the lowest objective."""
    descent = descend(loss, content, start, config.method, config.learning_rate, config.precision)
    best, lowest = start, math.inf
    recent: deque[float] = deque(maxlen=_PATIENCE + 1)
    for iteration, (image, terms) in enumerate(descent):
        if terms["total"] < lowest:
            best, lowest = image.clone(), terms["total"]
        recent.append(lowest)
        settled = lowest == 0 or (
            len(recent) > _PATIENCE and recent[0] - lowest < config.tolerance * lowest
        )
        last = settled or iteration == config.iterations or stop.signal is not None
        tracker.iteration(iteration, terms, image, last)
        if last:
            break
    return best


def starting_picture(config: OptimizeConfig, content: Tensor) -> Tensor:
    """Return the picture to start from, of the shape of `content`, (1, 3, H, W).

    Raises:
        FileNotFoundError: the picture or model does not exist.
        UserError: the picture has another aspect ratio than the content.
    """
    if config.init == "content":
        return content
    if config.init == "noise":
        generator = torch.Generator().manual_seed(config.seed)
        return torch.rand(content.shape, generator=generator).to(content.device)
    if Path(config.init).suffix.lower() in PICTURE_SUFFIXES:
        picture = read_image(config.init).to(content.device)
        there, here = (p.shape[-1] / p.shape[-2] for p in (picture, content))
        if not 0.98 < there / here < 1.02:
            raise UserError(
                f"init={config.init} has the aspect ratio {there:.2f}, but the content {here:.2f}: "
                "they must be the same"
            )
        return stretch(picture, content)
    return load(config.init, str(content.device), "fp32")(content)


def stretch(image: Tensor, like: Tensor) -> Tensor:
    """Return the picture (1, 3, H, W) scaled to the height and width of `like`, antialiased."""
    if image.shape == like.shape:
        return image
    size = list(like.shape[-2:])
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)


def needed_bytes(loss_network: LossNetwork, config: OptimizeConfig, pixels: int) -> int:
    """Return about how much memory an iteration takes: all features, and as much again."""
    channels = sum(
        convolution.out_channels
        / 4 ** (int(layer[4]) - 1)  # reluB_C: block B is pooled B - 1 times
        for layer, convolution in loss_network.convolutions.items()
    )
    levels = sum(4.0**-level for level in range(config.loss.style_levels))
    bytes_each = 4 if config.precision == "fp32" else 3  # Gram matrices and the rest stay in fp32
    return int(2 * bytes_each * channels * levels * pixels)
