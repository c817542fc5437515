"""Frames of cameras, streams, and video files played like a camera, with their capture times."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fst.errors import CameraLostError, UserError
from fst.video import reader
from fst.video.opencv import opencv

_ADVICE = "--camera accepts an index, a video file or a URL"


@dataclass(frozen=True)
class CameraFrame:
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
        self.first: np.ndarray
        """The first frame, (H, W, 3); the others have its size."""
        self._started = self._last = 0.0  # times of the first and the last frame
        self._film = None if source.isdecimal() else self._open_file(Path(source))
        if self._film is not None:
            self.is_file, self._mirror = True, False
            self._played = (item for item in self._film if isinstance(item, reader.Frame))
            self._begin = next(self._played)
            self.first = self._begin.pixels
            return
        self._capture = self._cv2.VideoCapture(int(source) if source.isdecimal() else source)
        seen, pixels = self._capture.read()
        if not seen:
            self._capture.release()
            raise UserError(_why_no_picture(source))
        self.is_file = self._capture.get(self._cv2.CAP_PROP_FRAME_COUNT) > 0  # one at a URL
        self._mirror = mirror and not self.is_file
        self.first = self._to_rgb(pixels)

    def _open_file(self, path: Path) -> reader.VideoReader | None:
        if not path.exists() or path.is_char_device():
            return None
        try:
            return reader.VideoReader(
                path, wanted=lambda at: not self._is_late(float(at)), quick=True
            )
        except UserError as error:
            raise UserError(f"cannot use camera {path}: {error}; {_ADVICE}") from error

    def __iter__(self) -> Iterator[CameraFrame]:
        self._started = self._last = time.monotonic()
        if self._film is not None:
            with self._film:
                self._started -= float(self._begin.time)
                yield CameraFrame(self.first, self._last)
                for frame in self._played:
                    yield CameraFrame(frame.pixels, self._wait_for(float(frame.time)))
            return
        try:
            if self.is_file:
                yield CameraFrame(self.first, self._started)
                yield from self._pace()
            else:
                yield from self._live()
        finally:
            self._capture.release()

    def _live(self) -> Iterator[CameraFrame]:
        while self._capture.grab():
            captured = time.monotonic()
            seen, pixels = self._capture.retrieve()
            if not seen:
                break
            yield CameraFrame(self._to_rgb(pixels), captured)
        raise CameraLostError(
            f"camera {self.source} stopped delivering frames after "
            f"{time.monotonic() - self._started:.0f} s: is it unplugged?"
        )

    def _pace(self) -> Iterator[CameraFrame]:
        while self._capture.grab():
            at = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
            if self._is_late(at):
                continue
            captured = self._wait_for(at)
            seen, pixels = self._capture.retrieve()
            if seen:
                yield CameraFrame(self._to_rgb(pixels), captured)

    def _is_late(self, at: float) -> bool:
        """Return whether the frame of this time of the film is to be dropped."""
        now = time.monotonic()
        # Even if decoding alone is too slow, at least two frames per second are shown.
        return self._started + at < now - 0.1 and now < self._last + 0.5

    def _wait_for(self, at: float) -> float:
        """Wait until this time of the film; return what `time.monotonic()` is then."""
        time.sleep(max(0, self._started + at - time.monotonic()))
        self._last = time.monotonic()
        return self._last

    def _to_rgb(self, pixels: np.ndarray) -> np.ndarray:
        pixels = self._cv2.flip(pixels, 1) if self._mirror else pixels
        return np.asarray(self._cv2.cvtColor(pixels, self._cv2.COLOR_BGR2RGB))


def scale(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return the picture with this shorter side; the longer side is rounded to an even number."""
    height, width = pixels.shape[:2]
    if size == min(height, width):
        return pixels
    longer = round(max(height, width) * size / min(height, width) / 2) * 2
    return resize(pixels, *((size, longer) if width < height else (longer, size)))


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the picture at this size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    cv2 = opencv()
    smooth = cv2.INTER_AREA if height < pixels.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=smooth))


def _why_no_picture(source: str) -> str:
    if not source.isdecimal():
        return f"cannot find or reach camera {source}: {_ADVICE}"
    devices = sorted(str(device) for device in Path("/dev").glob("video[0-9]*"))
    if sys.platform == "linux" and f"/dev/video{source}" not in devices:
        found = ", ".join(devices) or "none"
        return f"there is no camera {source} (found: {found}); {_ADVICE}"
    return (
        f"camera {source} delivers no picture: another program may be using it, or access is "
        f"denied; {_ADVICE}"
    )
