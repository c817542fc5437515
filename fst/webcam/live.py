"""Threads between a camera and a window: capture, stylize, put out; the newest frame wins.

    camera -> Latest -> network -> Latest -> window (the main thread)
                                -> Latest -> video file, virtual camera

Between the threads are slots for a single item. A frame shown is therefore never older than one
capture period and one network period, plus the time to draw it, however slow the network is; a
queue would grow instead.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from fst.errors import CameraLostError
from fst.stylizing.look import Look
from fst.video.writer import VideoWriter
from fst.webcam.camera import CameraFrame, resize, scale

T = TypeVar("T")
STALL_SECONDS = 5.0
"""A camera that delivers no frame for this long counts as lost."""


class ClosedError(Exception):
    """The slot between two threads was closed by one of them."""


@dataclass(frozen=True)
class Settings:
    """What the keys change; replaced as a whole, so that threads can read it without a lock."""

    size: int
    """The shorter side of the frames given to the network, in pixels."""
    model: int = 0
    look: Look = Look()
    recording: bool = False
    help: bool = False
    text: bool = True
    """Show the lines of text in the window."""
    automatic: bool = False
    """The size was chosen automatically, and may be lowered when the network lags."""


@dataclass(frozen=True)
class Result:
    """A stylized frame and how it was made."""

    pixels: np.ndarray
    captured: float
    seconds: float
    """Time in the network, including scaling and filters."""
    settings: Settings


class Output(Protocol):
    """Where results go besides the window."""

    def write(self, result: Result) -> None:
        """Put out a result."""

    def close(self) -> None:
        """Finish; called once, after the last result."""


LiveFilter = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Called with the network's input and its result, returns the result to show; may keep state."""


def no_filter() -> LiveFilter:
    """Return the filter that changes nothing."""
    return lambda content, stylized: stylized


@dataclass(frozen=True)
class LiveModel:
    """A network and its title."""

    title: str
    stylize: Callable[[np.ndarray, Look], np.ndarray]
    engine: str = ""
    """What runs it, as a description."""
    most_strength: float = 1.0


class Latest(Generic[T]):
    """A slot for one item between two threads: the newest item wins, `put` never waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[T] = deque(maxlen=1)
        self._closed = False

    def put(self, item: T) -> None:
        """Replace the item; raises `ClosedError` if the slot was closed."""
        with self._changed:
            if self._closed:
                raise ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float) -> T | None:
        """Take the item, or return None if there is none within `timeout` seconds.

        Raises:
            ClosedError: the slot was closed and its last item has been taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if self._items:
                return self._items.popleft()
            if self._closed:
                raise ClosedError
            return None

    def close(self) -> None:
        """Wake waiting threads; an item still in the slot can be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Recorder:
    """Writes the results whose settings ask for it: one file for each uninterrupted stretch.

    Frames keep their capture times and are scaled to the camera's size. While it is being recorded,
    `NAME.mp4` is called `NAME.recording.mp4`; if the process is killed, that file is left, and can
    be played up to about the last second.
    """

    def __init__(
        self,
        output: Path | None,
        width: int,
        height: int,
        fps: float,
        say: Callable[[str], None],
    ) -> None:
        """Record to `output` first (None: a name by date), then to names by date."""
        self._next = output
        self._width, self._height = width, height
        self._fps = fps
        self._say = say
        self._writer: VideoWriter | None = None

    def write(self, result: Result) -> None:
        """Write the result if it is to be recorded; otherwise finish the file, if one is open.

        Raises:
            OSError: the file cannot be written any further; it can be played as far as it goes.
        """
        if not result.settings.recording:
            self.close()
            return
        with self._writing():
            if self._writer is None:
                self._open(result)
            assert self._writer is not None
            seconds = result.captured - self._started
            self._writer.write(resize(result.pixels, self._width, self._height), seconds)

    def close(self) -> None:
        """Finish the file, if one is open, move it to its name and report that."""
        if self._writer is not None:
            with self._writing():
                self._writer.close()
            self._writer = None
            recording_path(self._path).replace(self._path)
            self._say(f"recorded {self._path}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"cannot record to {recording_path(self._path)}: {error.strerror}"
            if self._writer is not None:
                self._writer.abandon()  # finishing the file would fail with another message
                self._writer = None
                message += "; the file can be played as far as it goes"
            raise OSError(message) from error

    def _open(self, result: Result) -> None:
        self._path = self._next or dated_path(".mp4")
        self._next = None  # only the first file has the requested name
        self._started = result.captured
        self._writer = VideoWriter(
            recording_path(self._path), self._width, self._height, self._fps, survives_kill=True
        )


class Pipeline:
    """The threads behind the window: they capture, stylize and put out until one of them ends.

    Assign to `settings` to change them. A camera that delivers no frame for `patience` seconds
    counts as lost. With `count`, the pipeline ends after this many results. `make_filter` is called
    at the start and when a key changes the picture.
    """

    def __init__(
        self,
        frames: Iterable[CameraFrame],
        models: Sequence[LiveModel],
        settings: Settings,
        outputs: Sequence[Output],
        patience: float = STALL_SECONDS,
        count: int | None = None,
        make_filter: Callable[[], LiveFilter] = no_filter,
    ) -> None:
        self.models = models
        self.settings = settings
        self.results: Latest[Result] = Latest()
        self._frames = frames
        self._make_filter = make_filter
        self._patience = patience
        self._count = count
        self._captured: Latest[CameraFrame] = Latest()
        self._put_out: list[Latest[Result]] = [Latest() for _ in outputs]
        self._errors: list[Exception] = []
        # A thread that ends closes the slots on both sides, which ends its neighbours too.
        self._capturing = self._thread(self._capture, self._captured)
        self._others = (
            self._thread(self._stylize, self._captured, self.results, *self._put_out),
            *(
                self._thread(partial(_write, slot, output), slot)
                for slot, output in zip(self._put_out, outputs, strict=True)
            ),
        )

    def start(self) -> None:
        """Start the threads."""
        for thread in (self._capturing, *self._others):
            thread.start()

    def finish(self) -> None:
        """Stop the threads and finish the recording; raise the first error of a thread, if any."""
        self._captured.close()
        self.results.close()
        for thread in self._others:
            thread.join()
        self._capturing.join(timeout=1)  # a daemon thread: it may be blocked by a dead camera
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
        last = None
        for _ in itertools.islice(itertools.count(), self._count):
            frame = self._captured.get(self._patience)
            if frame is None:
                raise CameraLostError(
                    f"the camera delivered no frame for {self._patience:g} s: is it unplugged?"
                )
            settings = self.settings
            if last is None or changes_picture(last, settings):
                apply_filter = self._make_filter()
            last = settings
            started = time.monotonic()
            content = scale(frame.pixels, settings.size)
            stylized = stylize_frame(self.models[settings.model], content, settings)
            pixels = apply_filter(content, stylized)
            seconds = time.monotonic() - started
            result = Result(pixels, frame.captured, seconds, settings)
            for slot in (*self._put_out, self.results):
                slot.put(result)


def _write(slot: Latest[Result], output: Output) -> None:
    try:
        while result := slot.get(threading.TIMEOUT_MAX):
            output.write(result)
    finally:
        output.close()


def stylize_frame(model: LiveModel, pixels: np.ndarray, settings: Settings) -> np.ndarray:
    """Return the camera's pixels, scaled to the working size and stylized by the settings."""
    small = scale(pixels, settings.size)
    strength = min(settings.look.strength, model.most_strength)
    return model.stylize(small, replace(settings.look, strength=strength))


def changes_picture(before: Settings, now: Settings) -> bool:
    """Return whether the settings differ in what the stylized picture looks like."""
    first, second = ((each.size, each.model, each.look) for each in (before, now))
    return first != second


def dated_path(suffix: str) -> Path:
    """Return a path in the current folder, named by date and time."""
    return Path(f"fst-{datetime.now():%Y-%m-%d_%H-%M-%S.%f}"[:-3] + suffix)


def recording_path(path: Path) -> Path:
    """Return the name that a video file has while it is being recorded."""
    return path.with_name(f"{path.stem}.recording{path.suffix}")
