"""Stylizing video files: decode, stylize and encode side by side; less flicker on request.

>>> report = stylize_video(fst.load("runs/the_scream"), Path("in.mp4"), Path("out.mp4"), smooth=0.8)
>>> report.frames, report.notes
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from fst.atomic import replacing
from fst.errors import UserError
from fst.video.video_file import Frame, VideoReader, VideoWriter, format_of

Item = TypeVar("Item")
_AHEAD = 8  # frames and packets of sound that may wait before the network, and behind it


@dataclass(frozen=True)
class VideoReport:
    """What `stylize_video` did: `seconds` of wall time, `seconds_network` of them in the stylizer.

    `notes` has a line for whatever did not come through as it was: damage, converted sound.
    """

    frames: int
    width: int
    height: int
    fps: float
    seconds: float
    seconds_network: float
    notes: tuple[str, ...]


def stylize_video(
    stylizer: Callable[..., np.ndarray],
    source: Path,
    target: Path,
    *,
    strength: float = 1.0,
    keep_colors: bool = False,
    smooth: float = 0.0,
    size: int | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> VideoReport:
    """Stylize a video file; a run that fails or is stopped leaves no file.

    Every frame keeps its time (to a millisecond in .mkv and .webm), so variable frame rates and a
    late start stay as they are. Rotation is applied to the pixels, which are made square. Sound is
    copied, or converted where the target can't hold it. The target is H.264 or, for .webm, VP9.
    H.264 needs even sides: an odd one grows by a pixel, the last row or column repeated.

    Args:
        stylizer: called with a frame, (H, W, 3) uint8 RGB, `strength` and `keep_colors`.
        source: a file of any format that FFmpeg reads.
        target: the file to write or replace: .mp4, .m4v, .mov, .mkv or .webm.
        strength: as for `Stylizer`.
        keep_colors: as for `Stylizer`.
        smooth: how much to smooth flicker in time, in [0, 1); see `TemporalSmoother`.
        size: scale so that the shorter side has so many pixels; both are rounded to even numbers.
        progress: is told the frames done and, if known, about how many there are.

    Raises:
        FileNotFoundError: there is no such source.
        UserError: it holds no video that can be decoded, or the target or a setting is no good.
        ImportError: PyAV is not installed.
    """
    format_of(target)
    if source.resolve() == target.resolve():
        raise UserError(f"the result would overwrite its source {source}; choose another name")
    smoother = TemporalSmoother(smooth)
    started = perf_counter()
    frames, seconds_network = 0, 0.0
    with (
        VideoReader(source, size) as reader,
        replacing(target) as temporary,
        VideoWriter(
            temporary,
            reader.width,
            reader.height,
            reader.rate,
            time_base=reader.time_base,
            colors=reader.colors,
            audio=reader.audio,
        ) as writer,
        ThreadPoolExecutor(1, "decode") as decoding,
        ThreadPoolExecutor(1, "encode") as encoding,
    ):

        def finish(frame: Frame, stylized: np.ndarray) -> None:
            smoothed = smoother(frame.pixels, stylized) if smooth else stylized
            writer.write(smoothed, frame.time, frame.duration)

        writing: deque[Future[None]] = deque()
        # The network runs here, in the caller's thread, which is the one that Ctrl-C stops.
        for item in _ahead(decoding, iter(reader)):
            if isinstance(item, Frame):
                begun = perf_counter()
                stylized = stylizer(item.pixels, strength=strength, keep_colors=keep_colors)
                seconds_network += perf_counter() - begun
                writing.append(encoding.submit(finish, item, stylized))
                frames += 1
                progress(frames, reader.total and max(reader.total, frames))
            else:
                writing.append(encoding.submit(writer.write_audio, item))
            if len(writing) > _AHEAD:
                writing.popleft().result()
        for written in writing:
            written.result()
    return VideoReport(
        frames,
        writer.width,
        writer.height,
        float(reader.rate),
        perf_counter() - started,
        seconds_network,
        (*reader.notes, *writer.notes),
    )


class TemporalSmoother:
    """Less flicker: blends each result with the one before, wherever the input has not changed.

    A network that sees frames one by one answers sensor noise, and its global statistics answer
    whatever moves elsewhere, with changes of its strokes in places that stand still. So, as in
    a recursive (infinite impulse response) denoiser,

        w = smooth * exp(-(d / sigma)^2)
        result_t = stylized_t + w * (result_{t-1} - stylized_t)
        reference_t = input_t + w * (reference_{t-1} - input_t)

    where d is how far the input is from the reference. Both are averaged over cells, 90 of them
    along the shorter side, so that noise is not taken for change; d is the largest difference
    of the channels, spread to the neighbouring cells, so that w is 0 up to the rims of what moves.
    The reference follows the input with the weights of the result: d is thus measured from those
    inputs that the blended result shows, and slow drift adds up in it until the old result fades.
    When most cells have changed (a cut) everything starts anew. What changes from frame to frame
    at random comes down to sqrt((1 - smooth) / (1 + smooth)) of its deviation, a third for 0.8;
    what changes over many frames stays.

    There is no optical flow: it would take a second network, as slow as the first, and its errors
    at the rims of objects smear the style there; and flicker is seen where nothing moves, which
    needs none. On what does move the result is the network's own, but for flat surfaces under a
    moving camera, whose inputs look alike: strokes are softened there.
    """

    rows = 90
    """Cells along the shorter side of the frame, if they have 4 px or more."""
    sigma = 6.0
    """Change of a cell, in levels of 255, at which the weight is down to 1/e of `smooth`."""

    def __init__(self, smooth: float) -> None:
        if not 0 <= smooth < 1:
            raise UserError(f"smooth={smooth} must be in [0, 1)")
        self.smooth = smooth
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None

    @torch.no_grad()
    def __call__(self, content: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        """Return the smoothed result; all are uint8 (H, W, 3), of the same size in every call."""
        planes = torch.from_numpy(content).permute(2, 0, 1)[None]
        cell_px = max(4, min(content.shape[:2]) / self.rows)
        cells = [math.ceil(side / cell_px) for side in content.shape[:2]]
        # On bytes, this antialiased filter is ten times as fast as pooling floats.
        means = F.interpolate(planes, cells, mode="bilinear", antialias=True).float()
        result = torch.from_numpy(stylized).float()
        if self._state is not None:
            reference, previous = self._state
            change = (means - reference).abs().amax(1, keepdim=True)
            change = F.max_pool2d(change, 3, 1, 1)
            if (change > 2 * self.sigma).float().mean() < 0.6:
                weight = self.smooth * torch.exp(-((change / self.sigma) ** 2))
                means = torch.lerp(means, reference, weight)
                shown = F.interpolate(weight, content.shape[:2], mode="bilinear")[0, 0, ..., None]
                result = previous.sub_(result).mul_(shown).add_(result)
        self._state = means, result
        return result.round().byte().numpy()


def _ahead(pool: ThreadPoolExecutor, items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items; the pool's one thread takes `_AHEAD` of them in advance."""
    waiting = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
    while (item := waiting.popleft().result()) is not None:
        waiting.append(pool.submit(next, items, None))
        yield item
