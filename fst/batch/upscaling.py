"""Many pictures and videos enlarged, one after the other; a failure does not stop the rest."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from fst.batch.files import Job, Outcome
from fst.batch.pictures import change_pictures
from fst.batch.videos import change_videos
from fst.upscaling.enlarger import Enlarger
from fst.video.video import VideoReport, stylize_video


def enlarge_pictures(
    jobs: Sequence[Job],
    enlarger: Enlarger,
    scale: float,
    size: int | None,
    tile_px: int | None,
    quality: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[Outcome]:
    """Enlarge pictures; yield the outcome of each, as `change_pictures` does.

    Args:
        jobs: what `fst.batch.files.plan` returned.
        enlarger: the model.
        scale: how many times as wide and as high the results are.
        size: scale the shorter side of the small pictures to this many pixels first.
        tile_px: side of the tiles of the small picture; 0 never tiles.
        quality: of JPEG and WebP files.
        progress: called with the fraction of a picture's tiles that is done.
    """

    def enlarge(_: str, rgb: Tensor) -> tuple[Tensor, list[tuple[str, ...]]]:
        return enlarger(rgb, scale=scale, tile_px=tile_px, progress=progress), [()] * len(rgb)

    yield from change_pictures(jobs, enlarge, size, quality)


def enlarge_videos(
    jobs: Sequence[Job],
    enlarger: Enlarger,
    scale: float,
    size: int | None,
    tile_px: int | None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Iterator[Outcome]:
    """Enlarge videos frame by frame; yield the outcome of each. Arguments as above."""

    def enlarge(frame: np.ndarray) -> np.ndarray:
        return enlarger(frame, scale=scale, tile_px=tile_px)

    def make(job: Job) -> VideoReport:
        return stylize_video(
            enlarge,
            job.source,
            job.target,
            size=size,
            workers=enlarger.workers,
            scale=scale,
            progress=progress,
        )

    return change_videos(jobs, make)
