"""Frames of cameras, streams, and video files played like a camera, with their capture times."""

import importlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from fst.errors import CameraLostError, UserError


@dataclass(frozen=True)
class Frame:
    """A camera frame, uint8 RGB (H, W, 3), and the `time.monotonic()` of its capture."""

    pixels: np.ndarray
    captured: float


class Camera:
    """Iterates over the frames of a camera, a stream, or a video file played like a camera.

    A file is played at its own rate: frames that would come too late are dropped.

    Args:
        source: an index, a path or a URL.
        mirror: flip a camera's frames left to right, like a mirror; files are never flipped.

    Raises:
        UserError: the camera does not exist or delivers no picture.
    """

    def __init__(self, source: str, mirror: bool = True) -> None:
        self._cv2 = opencv()
        self.source = source
        self._capture = self._cv2.VideoCapture(int(source) if source.isdecimal() else source)
        seen, pixels = self._capture.read()
        if not seen:
            self._capture.release()
            raise UserError(_why_no_picture(source))
        count = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT)
        self.is_file = Path(source).is_file() or count > 0
        self._mirror = mirror and not self.is_file
        self.first = self._to_rgb(pixels)
        """The first frame, (H, W, 3); the others have its size."""

    def __iter__(self) -> Iterator[Frame]:
        try:
            started = time.monotonic()
            if self.is_file:
                yield Frame(self.first, started)
                yield from self._paced(started)
            else:
                yield from self._live(started)
        finally:
            self._capture.release()

    def _live(self, started: float) -> Iterator[Frame]:
        while self._capture.grab():
            captured = time.monotonic()
            seen, pixels = self._capture.retrieve()
            if not seen:
                break
            yield Frame(self._to_rgb(pixels), captured)
        raise CameraLostError(
            f"camera {self.source} stopped delivering frames after "
            f"{time.monotonic() - started:.0f} s: is it unplugged?"
        )

    def _paced(self, started: float) -> Iterator[Frame]:
        last = started
        while self._capture.grab():
            due = started + self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
            now = time.monotonic()
            # Even if decoding alone is too slow, at least two frames per second are shown.
            if due < now - 0.1 and now < last + 0.5:
                continue
            time.sleep(max(0, due - now))
            last = time.monotonic()
            seen, pixels = self._capture.retrieve()
            if seen:
                yield Frame(self._to_rgb(pixels), last)

    def _to_rgb(self, pixels: np.ndarray) -> np.ndarray:
        pixels = self._cv2.flip(pixels, 1) if self._mirror else pixels
        return np.asarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB))


def opencv() -> ModuleType:
    """Return `cv2` with its own warnings silenced; raise ImportError that names the extra."""
    # Read when the libraries are loaded: they silence FFmpeg, and Qt about its fonts.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise ImportError(
            f"the webcam needs OpenCV ({error}): pip install 'fst-style-transfer[webcam]'"
        ) from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def scaled(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return the picture with this shorter side; the longer side is rounded to an even number."""
    height, width = pixels.shape[:2]
    if size == min(height, width):
        return pixels
    longer = round(max(height, width) * size / min(height, width) / 2) * 2
    return resized(pixels, *((size, longer) if width < height else (longer, size)))


def resized(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the picture at this size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    cv2 = opencv()
    smooth = cv2.INTER_AREA if height < pixels.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=smooth))


def _why_no_picture(source: str) -> str:
    advice = "--camera accepts an index, a video file or a URL"
    if not source.isdecimal():
        verb = "read" if Path(source).exists() else "find or reach"
        return f"cannot {verb} camera {source}: {advice}"
    devices = sorted(str(device) for device in Path("/dev").glob("video[0-9]*"))
    if sys.platform == "linux" and f"/dev/video{source}" not in devices:
        found = ", ".join(devices) or "none"
        return f"there is no camera {source} (found: {found}); {advice}"
    return (
        f"camera {source} delivers no picture: another program may be using it, or access is "
        f"denied; {advice}"
    )
