"""Many pictures and videos stylized, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from torch import Tensor

from fst.batch.files import Job, Outcome
from fst.batch.pictures import change_pictures
from fst.batch.videos import change_videos
from fst.pictures.forms import in_form_of, to_images
from fst.pictures.mask import is_black, read_mask, stretch
from fst.stylizing.look import Look
from fst.stylizing.options import Options
from fst.stylizing.stylizer import Stylizer
from fst.video.filters import TemporalSmoother, VideoFilter
from fst.video.motion import motion
from fst.video.video import VideoReport, stylize_video


def stylize_pictures(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    options: Options,
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[Outcome]:
    """Stylize pictures; the outcome of each comes in order, as from `change_pictures`.

    Args:
        jobs: what `plan` returned.
        stylizers: by model name.
        options: how to stylize; those for videos are ignored.
        progress: called with the fraction of a large picture's tiles that is done.

    Raises:
        UserError: the mask cannot be used; at once.
    """
    if not jobs:
        return iter(())
    look_at, about_mask = _looks(options)

    def stylize(model: str, rgb: Tensor) -> Tensor:
        look = look_at(stylizers[model], *rgb.shape[-2:])
        return in_form_of(stylizers[model].render(rgb, look, options.tile_px, progress), rgb)

    outcomes = change_pictures(jobs, stylize, options.size, options.quality)
    return (replace(outcome, notes=(*outcome.notes, *about_mask)) for outcome in outcomes)


def stylize_videos(
    jobs: Sequence[Job],
    stylizers: Mapping[str, Stylizer],
    options: Options,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Outcome]:
    """Stylize videos one after the other; the outcome of each comes in order.

    Args:
        jobs: what `plan` returned.
        stylizers: by model name.
        options: how to stylize.
        progress: called with the frames done and, if known, about how many there are.

    Raises:
        UserError: the mask cannot be used; at once.
    """
    if not jobs:
        return iter(())
    look_at, about_mask = _looks(options)

    def stylize(model: str, frame: np.ndarray) -> np.ndarray:
        look = look_at(stylizers[model], *frame.shape[:2])
        return in_form_of(stylizers[model].render(to_images(frame), look, options.tile_px), frame)

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

    notes = about_mask
    if options.smooth and motion() is None:
        note = (
            "smoothed only where nothing moves, as OpenCV is not installed: "
            "pip install 'fst-style-transfer[webcam]'"
        )
        notes = (*about_mask, note)
    outcomes = change_videos(jobs, make)
    return (replace(outcome, notes=(*outcome.notes, *notes)) for outcome in outcomes)


_LookAt = Callable[[Stylizer, int, int], Look]
"""Returns the look of a stylizer's picture of a height and width."""


def _looks(options: Options) -> tuple[_LookAt, tuple[str, ...]]:
    """Return what gives each picture its look, and notes on the mask."""
    mask_at, about_mask = _mask(options)

    def look_at(stylizer: Stylizer, height: int, width: int) -> Look:
        as_trained = options.strokes is None and stylizer.fixed_size
        strokes = 1.0 if as_trained else options.strokes_in(height, width)
        return Look(options.strength, options.keep_colors, mask_at(height, width), strokes)

    return look_at, about_mask


def _mask(options: Options) -> tuple[Callable[[int, int], Tensor | None], tuple[str, ...]]:
    """Return a function that returns the mask at a height and width, and notes on the mask.

    The function returns (1, 1, H, W) in [0, 1].
    """
    if options.mask is None:
        return lambda height, width: None, ()
    mask = read_mask(options.mask)

    @lru_cache(maxsize=1)  # the frames of a video have the same size
    def mask_at(height: int, width: int) -> Tensor:
        return stretch(mask, height, width)

    return mask_at, ("the mask is black: nothing is stylized",) if is_black(mask) else ()


def video_filters(options: Options) -> list[VideoFilter]:
    """Return new filters for one scene of a video, in the order in which they apply."""
    filters: list[VideoFilter] = []
    if options.smooth:
        filters.append(TemporalSmoother(options.smooth))
    return filters
