"""The working size of live video: the largest size that a model stylizes at the given rate."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fst.webcam.live import (
    LiveModel,
    Result,
    Settings,
    stylize_frame,
)

SMALLEST_PX = 64
"""The smallest working size, chosen automatically or with the keys."""
HEADROOM = 0.85
"""Share of the frame period for the network; the rest is for decoding, drawing and encoding."""
TRIAL_SECONDS = 0.25
"""How long the network is timed at each size, so that a busy moment does not decide."""
LAG_SECONDS = 5.0
"""Network time at one size after which it is judged too slow or not."""


class LagRule:
    """Decides that a size is too large after 5 s of network time below the rate."""

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._settings: Settings | None = None
        self._seconds: list[float] = []

    def size(self, result: Result) -> int:
        """Return the size for the next frame: that of this result, or a smaller one that fits."""
        size = result.settings.size
        if result.settings != self._settings or sum(self._seconds) >= LAG_SECONDS:
            self._settings, self._seconds = result.settings, []
        self._seconds.append(result.seconds)
        typical = statistics.median(self._seconds)
        if sum(self._seconds) < LAG_SECONDS or typical <= 1 / self._fps:
            return size
        return fitting_size(size, typical, self._fps, size)


def choose_size(seconds_at: Callable[[int], float], fps: float, largest: int) -> tuple[int, float]:
    """Return the largest working size found to reach the rate, and the seconds measured at it.

    Time grows with the number of pixels, but not proportionally: a size is estimated from a smaller
    one, measured with `seconds_at(size)` and corrected. If even the smallest size is too slow, the
    smallest is returned.
    """
    size = min(SMALLEST_PX, largest)
    seconds = seconds_at(size)
    best = size, seconds
    for _ in range(8):
        wanted = fitting_size(size, seconds, fps, largest)
        if wanted in (size, best[0]):
            break
        size, seconds = wanted, seconds_at(wanted)
        if seconds <= HEADROOM / fps:
            best = max(best, (size, seconds))
    return best


def fitting_size(size: int, seconds: float, fps: float, largest: int) -> int:
    """Return the size that reaches the rate with `HEADROOM`, a multiple of 8 up to `largest`.

    `size` took `seconds`; every pixel is assumed to cost the same.
    """
    fitting = size * (HEADROOM / fps / seconds) ** 0.5
    return max(min(SMALLEST_PX, largest), int(min(fitting, largest)) // 8 * 8)


def with_size(
    settings: Settings,
    size: int | None,
    model: LiveModel,
    first: np.ndarray,
    fps: float,
    say: Callable[[str], None],
) -> Settings:
    """Return the settings with the requested size, or one that reaches the rate."""
    height, width = first.shape[:2]
    largest = min(height, width)
    if size is not None:
        return replace(settings, size=min(size, largest))

    def seconds_at(size: int) -> float:
        trial = replace(settings, size=size)
        stylize_frame(model, first, trial)  # warm-up: memory, kernels
        times: list[float] = []
        while len(times) < 3 or sum(times) < TRIAL_SECONDS:
            started = time.perf_counter()
            stylize_frame(model, first, trial)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    size, seconds = choose_size(seconds_at, fps, largest)
    short = "" if seconds <= 1 / fps else ", the most that this machine reaches"
    say(
        f"working size {size} px (camera: {width}x{height}): the network takes "
        f"{seconds * 1000:.0f} ms, {1 / seconds:.0f} fps ({fps:g} requested){short}"
    )
    return replace(settings, size=size, automatic=True)
