"""Many pictures and videos enlarged, one after the other; a failure does not stop the rest."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from fst.batch.files import Job, Outcome
from fst.batch.pictures import change_pictures
from fst.batch.videos import change_videos
from fst.upscaling.enlarger import Enlarger
from fst.upscaling.options import EnlargeOptions
from fst.video.video import VideoReport, stylize_video


def enlarge_pictures(
    jobs: Sequence[Job],
    enlarger: Enlarger,
    options: EnlargeOptions,
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[Outcome]:
    """Enlarge pictures; yield the outcome of each, as `change_pictures` does.

    Args:
        jobs: what `fst.batch.files.plan` returned.
        enlarger: the model.
        options: how to enlarge.
        progress: called with the fraction of a picture's tiles that is done.
    """

    def enlarge(_: str, rgb: Tensor) -> tuple[Tensor, list[tuple[str, ...]]]:
        result = enlarger(rgb, scale=options.scale, tile_px=options.tile_px, progress=progress)
        return result, [()] * len(rgb)

    yield from change_pictures(jobs, enlarge, options.size, options.quality)


def enlarge_videos(
    jobs: Sequence[Job],
    enlarger: Enlarger,
    options: EnlargeOptions,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Outcome]:
    """Enlarge videos frame by frame; yield the outcome of each. Arguments as above."""

    def enlarge(frame: np.ndarray) -> np.ndarray:
        return enlarger(frame, scale=options.scale, tile_px=options.tile_px)

    def make(job: Job) -> VideoReport:
        return stylize_video(
            enlarge,
            job.source,
            job.target,
            size=options.size,
            workers=enlarger.workers,
            scale=enlarger.scale_of(options.scale),
            progress=progress,
        )

    return change_videos(jobs, make)
