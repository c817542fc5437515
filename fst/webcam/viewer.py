"""The window of live video, its keys, and the rate and latency it shows."""

import itertools
import signal
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from fst.atomic import replacing
from fst.errors import UserError, ending_signals
from fst.video.opencv import opencv
from fst.webcam.camera import scale
from fst.webcam.live import (
    ClosedError,
    Pipeline,
    Result,
    Settings,
    dated_path,
)
from fst.webcam.working_size import SMALLEST_PX, LagRule

CANVAS_PX = 540
"""The shorter side of the displayed picture, so that text is legible at any working size."""
TITLE = "fst webcam"
QUIT_KEYS = ("q", "\x1b")  # and Esc
HELP = (
    "1-9 n p   model",
    "+ -   strength",
    "[ ]   working size",
    "c   keep the camera's colours",
    "s   save a picture",
    "r   start or stop recording",
    "t   hide or show the text",
    "h   this help",
    "q Esc   quit",
)


class RateMeter:
    """The rate and the end-to-end latency of the last 10,000 frames shown."""

    def __init__(self) -> None:
        self._shown: deque[float] = deque(maxlen=10_000)
        self._latencies: deque[float] = deque(maxlen=10_000)
        self._network: deque[float] = deque(maxlen=10_000)

    def add(self, result: Result, shown: float) -> None:
        """Count a result shown at this `time.monotonic()`."""
        self._shown.append(shown)
        self._latencies.append(shown - result.captured)
        self._network.append(result.seconds)

    def fps(self, count: int = 30) -> float:
        """Return the frames per second over the last `count` frames."""
        times = list(itertools.islice(reversed(self._shown), count))
        return (len(times) - 1) / (times[0] - times[-1]) if len(times) > 1 else 0.0

    def summary(self) -> str:
        """Return one line: the number of frames, their rate and their latency."""
        count = len(self._shown)
        if not count:
            return "no frame was stylized"
        median, worse = np.percentile(self._latencies, (50, 95)) * 1000
        network = statistics.median(self._network) * 1000
        return (
            f"{count} frames, {self.fps(count):.1f} fps; latency {median:.0f} ms (median), "
            f"{worse:.0f} ms (95%), of which the network took {network:.0f} ms"
        )


class Window:
    """The window and its keys; use it from the main thread only, as GUI toolkits require."""

    def __init__(self, first: np.ndarray) -> None:
        self._cv2 = opencv()
        flags = self._cv2.WINDOW_NORMAL | self._cv2.WINDOW_KEEPRATIO | self._cv2.WINDOW_GUI_NORMAL
        self._cv2.namedWindow(TITLE, flags)
        height, width = scale(first, CANVAS_PX).shape[:2]
        self._cv2.resizeWindow(TITLE, width, height)

    def show(self, pixels: np.ndarray, lines: Sequence[str], recording: bool) -> None:
        """Show RGB pixels of any size, with lines of text, if any, on a darkened strip."""
        canvas = scale(pixels, CANVAS_PX)[..., ::-1].copy()
        if lines:
            canvas[: 16 + 26 * len(lines)] //= 3
        texts = [(line, (12, 28 + 26 * row), (255, 255, 255)) for row, line in enumerate(lines)]
        if lines and recording:
            texts.append(("REC", (canvas.shape[1] - 60, 28), (80, 80, 255)))
        font, smooth = self._cv2.FONT_HERSHEY_SIMPLEX, self._cv2.LINE_AA
        for text, corner, color in texts:
            self._cv2.putText(canvas, text, corner, font, 0.7, color, 1, smooth)
        self._cv2.imshow(TITLE, canvas)

    def key(self) -> str:
        """Update the window; return the key pressed since, `q` if it was closed, or nothing."""
        code = self._cv2.waitKey(1)
        try:
            visible = self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE) >= 1
        except self._cv2.error:  # what Qt raises once the last window is closed
            visible = False
        if not visible:
            return "q"
        return chr(code & 0xFF) if code >= 0 else ""

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyAllWindows()


class Viewer:
    """Shows the results of a pipeline and turns keys into its settings.

    It never waits for the network: keys are read about every 10 ms. Until the first result, it
    shows the camera's first frame.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        window: Window | None,
        first: np.ndarray,
        fps: float,
        say: Callable[[str], None],
    ) -> None:
        self._pipeline = pipeline
        self._window = window
        self._largest = min(first.shape[:2])
        self._newest = Result(first, time.monotonic(), 0.0, pipeline.settings)
        self._drawn: Settings | None = None
        self._meter = RateMeter()
        self._lag = LagRule(fps)
        self._say = say
        self._quit = False

    def run(self) -> None:
        """Run the pipeline until it ends, or a key or signal ends it; raise a thread's error."""
        with _signals() as received:
            self._pipeline.start()
            try:
                while not (received or self._quit):
                    self._step()
            except ClosedError:
                pass
            finally:
                try:
                    self._pipeline.finish()
                finally:
                    self._say(self._meter.summary())

    def _step(self) -> None:
        result = self._pipeline.results.get(timeout=0.01)
        self._newest = result or self._newest
        if self._window:
            self._show(self._window, changed=result is not None)
        if result:
            self._meter.add(result, time.monotonic())
            self._mind_lag(result)

    def _show(self, window: Window, changed: bool) -> None:
        settings = self._pipeline.settings
        if changed or settings != self._drawn:
            window.show(self._newest.pixels, self._lines(settings), settings.recording)
            self._drawn = settings
        key = window.key()
        if key in QUIT_KEYS:
            self._quit = True
        elif key == "s":
            path = dated_path(".png")
            with replacing(path) as temporary:
                Image.fromarray(self._newest.pixels).save(temporary)
            self._say(f"saved {path}")
        else:
            models = self._pipeline.models
            most = models[settings.model].most_strength
            self._pipeline.settings = press(settings, key, len(models), self._largest, most)

    def _mind_lag(self, result: Result) -> None:
        size = self._lag.size(result)
        if size < result.settings.size and self._pipeline.settings.automatic:
            self._pipeline.settings = replace(self._pipeline.settings, size=size)
            self._say(f"the network lags: working size lowered to {size} px")

    def _lines(self, settings: Settings) -> list[str]:
        if not (settings.text or settings.help):
            return []
        height, width = self._newest.pixels.shape[:2]
        latency = (time.monotonic() - self._newest.captured) * 1000
        model = self._pipeline.models[settings.model]
        colors = ", camera's colours" if settings.look.keep_colors else ""
        strength = min(settings.look.strength, model.most_strength)
        lines = [
            f"{model.title}, strength {strength:.1f}{colors}",
            f"{self._meter.fps():.1f} fps, latency {latency:.0f} ms, {width}x{height}, h: help",
        ]
        return [*lines, "", *HELP] if settings.help else lines


def press(
    settings: Settings, key: str, models: int, largest: int, most_strength: float = 1.0
) -> Settings:
    """Return the settings after a key; keys without a function change nothing."""
    smallest = min(SMALLEST_PX, largest)
    step = max(8, settings.size // 40 * 8)  # a fifth
    look = settings.look
    stronger = min(most_strength, round(look.strength + 0.1, 2))
    weaker = max(0.0, round(min(look.strength, most_strength) - 0.1, 2))
    changes: dict[str, dict[str, Any]] = {
        "n": {"model": (settings.model + 1) % models},
        "p": {"model": (settings.model - 1) % models},
        "+": {"look": replace(look, strength=stronger)},
        "-": {"look": replace(look, strength=weaker)},
        "]": {"size": min(largest, settings.size + step), "automatic": False},
        "[": {"size": max(smallest, settings.size - step), "automatic": False},
        "c": {"look": replace(look, keep_colors=not look.keep_colors)},
        "r": {"recording": not settings.recording},
        "t": {"text": not settings.text},
        "h": {"help": not settings.help},
    }
    changes["="] = changes["+"]  # the same key, without shift
    changes |= {str(index + 1): {"model": index} for index in range(min(models, 9))}
    return replace(settings, **changes.get(key, {}))


def need_display() -> None:
    """Raise a `UserError` if no window can be opened."""
    opencv()
    # In a separate process, because without a display Qt aborts the whole process.
    attempt = [sys.executable, "-c", f"import cv2; cv2.namedWindow({TITLE!r})"]
    if subprocess.run(attempt, capture_output=True, check=False).returncode:
        raise UserError(
            "cannot open a window: there is no display, or OpenCV was built without GUI support "
            "(opencv-python-headless); --headless with --output FILE records without a window"
        )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Yield a list that receives Ctrl-C, SIGTERM and SIGHUP, so that recordings can be finished."""
    received: list[int] = []
    wanted = (signal.SIGINT, *ending_signals())
    before = [signal.signal(each, lambda number, _: received.append(number)) for each in wanted]
    try:
        yield received
    finally:
        for each, handler in zip(wanted, before, strict=True):
            signal.signal(each, handler)
