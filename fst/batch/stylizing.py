"""Many pictures and videos stylized, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from torch import Tensor

from fst.batch.files import Job, Outcome
from fst.batch.pictures import change_pictures
from fst.batch.videos import change_videos
from fst.errors import UserError
from fst.pictures.faces import load_detector
from fst.pictures.forms import in_form_of, to_images
from fst.pictures.mask import is_black, read_mask, stretch
from fst.stylizing.look import Look
from fst.stylizing.options import Options
from fst.stylizing.protection import weaken_on_faces
from fst.stylizing.stylizer import Stylizer
from fst.video.filters import TemporalSmoother, VideoFilter
from fst.video.motion import motion
from fst.video.video import VideoReport, stylize_video

NO_REGIONS: Mapping[Path, Stylizer] = MappingProxyType({})


def stylize_pictures(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    options: Options,
    progress: Callable[[float], None] = lambda share: None,
    regions: Mapping[Path, Stylizer] = NO_REGIONS,
) -> Iterator[Outcome]:
    """Stylize pictures; the outcome of each comes in order, as from `change_pictures`.

    Args:
        jobs: what `plan` returned.
        stylizers: by model name.
        options: how to stylize; those for videos are ignored.
        progress: called with the fraction of a large picture's tiles that is done.
        regions: what stylizes where a mask's file is white, from the lowest up.

    Raises:
        UserError: a mask cannot be used; at once.
        ImportError: faces are to be protected, and the extra `evaluate` is not installed; at once.
    """
    if not jobs:
        return iter(())
    look_at, layers_at, about_masks = _looks(options, regions)
    if options.protect_faces:
        load_detector()

    def stylize(model: str, rgb: Tensor) -> tuple[Tensor, list[tuple[str, ...]]]:
        size = rgb.shape[-2:]
        look, notes = look_at(stylizers[model], *size), [about_masks] * len(rgb)
        if options.protect_faces:
            look, counts = weaken_on_faces(look, rgb)
            notes = [(_about_faces(count), *about_masks) for count in counts]
        stylizer, layers = stylizers[model], layers_at(*size)
        return in_form_of(stylizer.render(rgb, look, options.tile_px, progress, layers), rgb), notes

    return change_pictures(jobs, stylize, options.size, options.quality)


def stylize_videos(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    options: Options,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    regions: Mapping[Path, Stylizer] = NO_REGIONS,
) -> Iterator[Outcome]:
    """Stylize videos one after the other; the outcome of each comes in order.

    Args:
        jobs: what `plan` returned.
        stylizers: by model name.
        options: how to stylize.
        progress: called with the frames done and, if known, about how many there are.
        regions: as for pictures; the masks are the same in every frame.

    Raises:
        UserError: a mask cannot be used, or faces are to be protected; at once.
    """
    if not jobs:
        return iter(())
    if options.protect_faces:
        raise UserError(
            f"--protect-faces is for pictures, not for videos ({jobs[0].source}): a face that the "
            "detector misses in some frames would flicker"
        )
    look_at, layers_at, about_masks = _looks(options, regions)

    def stylize(model: str, frame: np.ndarray) -> np.ndarray:
        stylizer, size = stylizers[model], frame.shape[:2]
        look, layers = look_at(stylizer, *size), layers_at(*size)
        images = to_images(frame)
        return in_form_of(stylizer.render(images, look, options.tile_px, regions=layers), frame)

    def make(job: Job) -> VideoReport:
        return stylize_video(
            partial(stylize, job.model),
            job.source,
            job.target,
            size=options.size,
            filters=partial(video_filters, options),
            workers=stylizers[job.model].workers,
            progress=progress,
        )

    notes = about_masks
    if options.smooth and motion() is None:
        note = (
            "smoothed only where nothing moves, as OpenCV is not installed: "
            "pip install 'fst-style-transfer[webcam]'"
        )
        notes = (*about_masks, note)
    outcomes = change_videos(jobs, make)
    return (replace(outcome, notes=(*outcome.notes, *notes)) for outcome in outcomes)


_LookAt = Callable[[Stylizer, int, int], Look]
"""Returns the look of a stylizer's picture of a height and width."""
_LayersAt = Callable[[int, int], list[tuple[Tensor, Stylizer]]]
"""Returns masks, (1, 1, H, W) in [0, 1], and their stylizers at a height and width."""


def _looks(
    options: Options, regions: Mapping[Path, Stylizer]
) -> tuple[_LookAt, _LayersAt, tuple[str, ...]]:
    """Return what gives each picture its look and its regions, and notes on the masks."""
    mask = None if options.mask is None else read_mask(options.mask)
    layers = [(read_mask(path), stylizer) for path, stylizer in regions.items()]
    notes = ["the mask is black: nothing is stylized"] if mask and is_black(mask) else []
    notes += [
        f"the mask {path} is black: its model is not seen"
        for path, (layer, _) in zip(regions, layers, strict=True)
        if is_black(layer)
    ]

    @lru_cache(maxsize=1)  # the frames of a video have the same size
    def mask_at(height: int, width: int) -> Tensor | None:
        return None if mask is None else stretch(mask, height, width)

    @lru_cache(maxsize=1)
    def layers_at(height: int, width: int) -> list[tuple[Tensor, Stylizer]]:
        return [(stretch(layer, height, width), stylizer) for layer, stylizer in layers]

    def look_at(stylizer: Stylizer, height: int, width: int) -> Look:
        fixed = any(each.fixed_size for each in (stylizer, *regions.values()))
        strokes = options.strokes_in(height, width, fixed)
        return Look(options.strength, options.keep_colors, mask_at(height, width), strokes)

    return look_at, layers_at, tuple(notes)


def _about_faces(count: int) -> str:
    return {0: "no face found", 1: "1 face protected"}.get(count, f"{count} faces protected")


def video_filters(options: Options) -> list[VideoFilter]:
    """Return new filters for one scene of a video, in the order in which they apply."""
    filters: list[VideoFilter] = []
    if options.smooth:
        filters.append(TemporalSmoother(options.smooth))
    return filters
