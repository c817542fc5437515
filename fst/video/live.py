"""Threads between a camera and a window: capture, stylize and record, the newest frame wins.

    camera -> Latest -> network -> Latest -> window (the main thread)
                                -> Latest -> video file

Between the threads are slots of one place. So what is shown is never older than a capture period
and a network period, plus the time to draw it, however slow the network is; a queue would grow
instead.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from fst.errors import CameraLostError
from fst.video.camera import Frame, resized, scaled
from fst.video.video_file import VideoWriter

T = TypeVar("T")
STALL_SECONDS = 5.0
"""A camera that gives no frame for so long is lost."""


class ClosedError(Exception):
    """The slot between two threads was closed by one of them."""


@dataclass(frozen=True)
class Settings:
    """What the keys change; replaced as a whole, so that threads may read it without a lock."""

    size: int
    """The shorter side of the frames that the network gets, in pixels."""
    model: int = 0
    strength: float = 1.0
    keep_colors: bool = False
    recording: bool = False
    help: bool = False
    automatic: bool = False
    """The size was not asked for: it may be lowered when the network lags."""


@dataclass(frozen=True)
class Result:
    """A stylized frame, and how it was made."""

    pixels: np.ndarray
    captured: float
    seconds: float
    """What the network took, scaling included."""
    settings: Settings


@dataclass(frozen=True)
class Model:
    """A network under its title: `stylize(pixels, strength=, keep_colors=)` like a `Stylizer`."""

    title: str
    stylize: Callable[..., np.ndarray]
    engine: str = ""
    """What runs it, in words."""


class Latest(Generic[T]):
    """A slot of one place between two threads: the newest item wins, `put` never waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[T] = deque(maxlen=1)
        self._closed = False

    def put(self, item: T) -> None:
        """Replace what is there; raises `ClosedError` where nobody takes it any more."""
        with self._changed:
            if self._closed:
                raise ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float) -> T | None:
        """Take the item, or None if there is none for `timeout` seconds.

        Raises:
            ClosedError: the slot was closed and its last item taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if self._items:
                return self._items.popleft()
            if self._closed:
                raise ClosedError
            return None

    def close(self) -> None:
        """Wake who waits; what is in the slot can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Recorder:
    """Writes the results whose settings ask for it: a file for every stretch of them.

    Frames keep the times at which they were captured, and a file the size of its first frame.
    """

    def __init__(self, output: Path | None, fps: float, say: Callable[[str], None]) -> None:
        self._next = output
        self._fps = fps
        self._say = say
        self._writer: VideoWriter | None = None

    def write(self, result: Result) -> None:
        """Write the result if it is to be recorded, otherwise finish the file."""
        if not result.settings.recording:
            self.close()
            return
        if self._writer is None:
            self._open(result)
        assert self._writer is not None
        seconds = result.captured - self._started
        self._writer.write(resized(result.pixels, self._width, self._height), seconds)

    def close(self) -> None:
        """Finish the file, if one is open, and say where it is."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._say(f"recorded {self._path}")

    def _open(self, result: Result) -> None:
        self._path = self._next or dated_path(".mp4")
        self._next = None  # the file asked for is the first one; the others are named by the date
        self._started = result.captured
        self._height, self._width = result.pixels.shape[:2]
        self._writer = VideoWriter(self._path, self._width, self._height, self._fps)


class Pipeline:
    """The threads behind the window: they capture, stylize and record until one of them ends.

    Assign `settings` to change them. A camera that gives no frame for `patience` seconds is lost;
    after `count` results, if it is given, all ends.
    """

    def __init__(
        self,
        frames: Iterable[Frame],
        models: Sequence[Model],
        settings: Settings,
        recorder: Recorder,
        patience: float = STALL_SECONDS,
        count: int | None = None,
    ) -> None:
        self.models = models
        self.settings = settings
        self.results: Latest[Result] = Latest()
        self._frames = frames
        self._recorder = recorder
        self._patience = patience
        self._count = count
        self._captured: Latest[Frame] = Latest()
        self._recorded: Latest[Result] = Latest()
        self._errors: list[Exception] = []
        # A thread that ends closes the slots on its sides, and with them its neighbours end.
        self._capturing = self._thread(self._capture, self._captured)
        self._others = (
            self._thread(self._stylize, self._captured, self.results, self._recorded),
            self._thread(self._record, self._recorded),
        )

    def start(self) -> None:
        """Start the threads."""
        for thread in (self._capturing, *self._others):
            thread.start()

    def finish(self) -> None:
        """Stop the threads, finish the recording; raise what went wrong in one of them, if any."""
        self._captured.close()
        self.results.close()
        for thread in self._others:
            thread.join()
        self._capturing.join(timeout=1)  # a daemon: it may wait for a camera that is gone
        if self._errors:
            raise self._errors[0]

    def _thread(self, work: Callable[[], None], *slots: Latest[Any]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except ClosedError:
                pass
            except Exception as error:  # raised again by `finish`, in the main thread
                self._errors.append(error)
            finally:
                for slot in slots:
                    slot.close()

        return threading.Thread(target=run, daemon=True)

    def _capture(self) -> None:
        for frame in self._frames:
            self._captured.put(frame)

    def _stylize(self) -> None:
        for _ in itertools.islice(itertools.count(), self._count):
            frame = self._captured.get(self._patience)
            if frame is None:
                raise CameraLostError(
                    f"the camera gave no frame for {self._patience:g} s: is it unplugged?"
                )
            settings = self.settings
            started = time.monotonic()
            pixels = stylize_frame(self.models[settings.model], frame.pixels, settings)
            seconds = time.monotonic() - started
            result = Result(pixels, frame.captured, seconds, settings)
            self._recorded.put(result)
            self.results.put(result)

    def _record(self) -> None:
        try:
            while result := self._recorded.get(threading.TIMEOUT_MAX):
                self._recorder.write(result)
        finally:
            self._recorder.close()


def stylize_frame(model: Model, pixels: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the camera's pixels at the working size, stylized as the settings say."""
    small = scaled(pixels, settings.size)
    return model.stylize(small, strength=settings.strength, keep_colors=settings.keep_colors)


def dated_path(suffix: str) -> Path:
    """Return a path in the working folder that is named by the date and the time."""
    return Path(f"fst-{datetime.now():%Y-%m-%d_%H-%M-%S.%f}"[:-3] + suffix)
