"""Temporal stability of a stylization: the warping error along the motion, and plain flicker.

>>> measure_stability(fst.load("the_scream"), Path("walk.mp4"), size=480)

Frames are uint8 RGB, (H, W, 3); levels are of 255. OpenCV, an optional extra, is imported where it
is used.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fst.errors import UserError
from fst.video.opencv import opencv
from fst.video.reader import Frame, VideoReader

STATIC = 2.0
"""Background is static if the input's temporal standard deviation, in levels, is below this."""
_MIN_PX = 16  # DIS refuses smaller frames


@dataclass(frozen=True)
class Stability:
    """The result of `measure_stability`; None means it could not be measured."""

    frames: int
    """Number of frames measured."""
    warping_error: float | None
    """Difference of a stylized frame from the previous one warped along the motion: root mean
    square over the valid pixels, in levels of 255. None: no pixel is valid in any frame."""
    warping_error_input: float | None
    """The same for the video itself, caused by flow errors, interpolation, noise and changes of
    light."""
    valid_share: float
    """Share of the pixels whose motion is known, in [0, 1]; only these are compared."""
    flicker: float | None
    """Temporal standard deviation of the stylized frames over the static background: mean of its
    pixels, in levels of 255. None: there is no static background."""
    flicker_input: float | None
    """The same for the video itself."""
    static_share: float
    """Share of the pixels that are static background, in [0, 1]."""


def measure_stability(
    stylize: Callable[[np.ndarray], np.ndarray],
    source: Path,
    *,
    frames: int = 60,
    size: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Stability:
    """Measure a stylization on a video file; see `stability_of`.

    Args:
        stylize: takes a frame and returns one of the same size.
        source: a file of any format that FFmpeg reads.
        frames: stop after this many.
        size: scale the shorter side to this many pixels.
        progress: called with the frames done and about how many there are.

    Raises:
        FileNotFoundError: the file does not exist.
        UserError: the file is not a video, has fewer than two frames or a side below 16 pixels, or
            a setting is out of range.
        ImportError: PyAV or OpenCV is not installed.
    """
    if frames < 2:
        raise UserError(f"frames={frames} must be at least 2")
    opencv("optical flow", "evaluate")  # fails before anything is stylized
    with VideoReader(source, size) as reader:
        total = min(frames, reader.total or frames)
        pixels = (item.pixels for item in reader if isinstance(item, Frame))
        return stability_of(
            stylize, islice(pixels, frames), lambda done: progress(done, max(done, total))
        )


def stability_of(
    stylize: Callable[[np.ndarray], np.ndarray],
    frames: Iterable[np.ndarray],
    progress: Callable[[int], None] = lambda done: None,
) -> Stability:
    """Measure a stylization on frames, two of which are in memory at a time.

    The warping error (Lai et al. 2018, "Learning blind video temporal consistency", section 4.2) of
    frame t is the mean square, over the valid pixels and the channels, of

        stylized_t(p) - stylized_{t-1}(p + flow(p))

    where the flow leads from p in input t to the same content in input t-1. The root of its mean
    over the frames is returned. Interpolation between pixels removes some noise from the warped
    frame: independent noise of deviation s gives s * sqrt(2) for motion by whole pixels, and as
    little as s * sqrt(1.25) for motion by half pixels.

    Args:
        stylize: takes a frame and returns one of the same size.
        frames: those of the video, in order.
        progress: called with the frames done.

    Raises:
        UserError: there are fewer than two frames, or a side is below 16 pixels.
        ImportError: OpenCV is not installed.
    """
    flickers = Flicker(), Flicker()
    errors: list[list[float]] = []  # a frame: of the input, of the stylized
    valid_pixels = pixels = 0
    before: tuple[np.ndarray, np.ndarray] | None = None
    for frame in frames:
        now = frame, stylize(frame)
        for flicker, image in zip(flickers, now, strict=True):
            flicker.add(image)
        if before is not None:
            flow, valid = flow_between(frame, before[0])
            valid_pixels, pixels = valid_pixels + int(valid.sum()), pixels + valid.size
            if valid.any():
                warped = [warp(image.astype(np.float32), flow) for image in before]
                pairs = zip(now, warped, strict=True)
                errors.append([float(np.mean((a[valid] - b[valid]) ** 2)) for a, b in pairs])
        before = now
        progress(flickers[0].frames)
    count = flickers[0].frames
    if count < 2:
        raise UserError(f"stability needs at least 2 frames, but there is {count or 'none'}")

    roots = np.sqrt(np.mean(errors, 0)) if errors else None
    maps, maps_stylized = (flicker.maps()[0] for flicker in flickers)
    static = maps < STATIC
    return Stability(
        frames=count,
        warping_error=None if roots is None else float(roots[1]),
        warping_error_input=None if roots is None else float(roots[0]),
        valid_share=valid_pixels / pixels,
        flicker=float(maps_stylized[static].mean()) if static.any() else None,
        flicker_input=float(maps[static].mean()) if static.any() else None,
        static_share=float(static.mean()),
    )


class Flicker:
    """Collects, frame by frame, how much each pixel changes in time."""

    def __init__(self) -> None:
        self.frames = 0
        self._total: Any = 0.0
        self._squares: Any = 0.0
        self._steps: Any = 0.0
        self._before: np.ndarray | None = None

    def add(self, frame: np.ndarray) -> None:
        """Add the next frame; all have the same size."""
        pixels = frame.astype(np.float64)
        self.frames += 1
        self._total = self._total + pixels
        self._squares = self._squares + pixels**2
        if self._before is not None:
            self._steps = self._steps + (pixels - self._before) ** 2
        self._before = pixels

    def maps(self) -> np.ndarray:
        """Return two measures of each pixel, (2, H, W), means over channels, in levels.

        The standard deviation over time, and the root mean square of the change from frame to
        frame. At least two frames are needed.
        """
        variance = np.maximum(self._squares / self.frames - (self._total / self.frames) ** 2, 0)
        maps: np.ndarray = np.sqrt([variance, self._steps / (self.frames - 1)]).mean(-1)
        return maps


def flow_between(frame: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each pixel of a frame is in the other frame, and where that is known.

    The flow is found by dense inverse search (Kroeger et al. 2016, "Fast optical flow using dense
    inverse search"), at full resolution. It counts as known if it ends within the picture, if the
    flow there and back returns to its start (Ruder et al. 2016, "Artistic style transfer for
    videos", equation 5; occluded pixels do not), and if it does not change abruptly (equation 6;
    at the edges of moving objects, flow is smeared).

    Returns:
        (H, W, 2) float32, steps to the right and down in pixels; (H, W) bool.

    Raises:
        UserError: a side is below 16 pixels.
        ImportError: OpenCV is not installed.
    """
    cv2 = opencv("optical flow", "evaluate")
    height, width = frame.shape[:2]
    if min(height, width) < _MIN_PX:
        raise UserError(
            f"optical flow needs {_MIN_PX} pixels per side; the frames are {width}x{height}"
        )
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    grey, other_grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (frame, other))
    there: np.ndarray = search.calc(grey, other_grey, None)
    back = warp(search.calc(other_grey, grey, None), there)

    returns = _length2(there + back) <= 0.01 * (_length2(there) + _length2(back)) + 0.5
    steepness = sum(_length2(np.gradient(there, axis=axis)) for axis in (0, 1))
    even = steepness <= 0.01 * _length2(there) + 0.002
    ends = _pixels(height, width) + there
    inside = ((ends >= 0) & (ends <= (width - 1, height - 1))).all(-1)
    return there, returns & even & inside


def warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the image sampled where the flow leads, bilinearly interpolated.

    Args:
        image: (H, W, C) float32.
        flow: as `flow_between` returns it.
    """
    cv2 = opencv("optical flow", "evaluate")
    ends = _pixels(*flow.shape[:2]) + flow
    border = cv2.BORDER_REPLICATE
    return np.asarray(cv2.remap(image, ends, None, cv2.INTER_LINEAR, borderMode=border))


def _length2(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.square(vectors).sum(-1))


def _pixels(height: int, width: int) -> np.ndarray:
    """Return each pixel's own x and y, (H, W, 2) float32."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
