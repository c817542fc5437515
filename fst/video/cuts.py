"""Cuts: where one scene of a video ends and the next begins."""

import numpy as np
import torch
import torch.nn.functional as F

ROWS = 36
"""Frames are compared at this many pixels along the shorter side, where noise averages out."""
LEVELS = 20.0
"""Frames of one scene may differ more than this, in levels of 255, only if they correlate ..."""
CORRELATION = 0.65
"""... by at least this coefficient."""


class CutDetector:
    """Recognizes the first frame of each scene.

    A frame begins a scene if it differs from the one before and does not correlate with it. The
    correlation coefficient is unaffected by changes of brightness and contrast, such as fades,
    flashes and automatic exposure. Both measures are taken where the two frames overlap after the
    shift that phase correlation finds (Kuglin and Hines 1975, "The phase correlation image
    alignment method"), if they agree better there: fast pans are thus not taken for cuts.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def __call__(self, content: np.ndarray) -> bool:
        """Return whether this frame, uint8 (H, W, 3), begins a scene; the first one does."""
        now, before = _thumbnail(content), self._last
        self._last = now
        if before is None or before.shape != now.shape:
            return True
        overlaps = [(before, now), _overlap(before, now, *_shift(before, now))]
        correlation, difference = max(_compare(*pair) for pair in overlaps)
        return difference > LEVELS and correlation < CORRELATION


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """Return the frame scaled down, (3, h, w) in levels."""
    scale = min(1, ROWS / min(frame.shape[:2]))
    size = [max(1, round(side * scale)) for side in frame.shape[:2]]
    planes = torch.from_numpy(frame).permute(2, 0, 1)[None]
    small = F.interpolate(planes, size, mode="bilinear", antialias=True)
    return small[0].float().numpy()


def _shift(before: np.ndarray, now: np.ndarray) -> tuple[int, int]:
    """Return by how many rows and columns the picture has moved, at most a third of its sides."""
    height, width = now.shape[1:]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    greys = [picture.mean(0) for picture in (before, now)]
    first, second = (np.fft.rfft2((grey - grey.mean()) * window) for grey in greys)
    cross = second * first.conj()
    peaks = np.fft.irfft2(cross / (np.abs(cross) + 1e-6), (height, width))
    # Negative shifts are at the far ends.
    rows, columns = (np.fft.fftfreq(side, 1 / side) for side in (height, width))
    peaks[np.abs(rows) > height / 3] = peaks[:, np.abs(columns) > width / 3] = -np.inf
    row, column = np.unravel_index(peaks.argmax(), peaks.shape)
    return int(rows[row]), int(columns[column])


def _overlap(
    before: np.ndarray, now: np.ndarray, down: int, right: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of both pictures that show the same if it moved down and to the right."""
    height, width = now.shape[1:]
    return (
        before[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)],
        now[:, max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)],
    )


def _compare(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return the correlation coefficient and the mean absolute difference of two pictures."""
    deviations = [picture - picture.mean((1, 2), keepdims=True) for picture in (one, other)]
    covariance = (deviations[0] * deviations[1]).mean()
    variances = [np.square(deviation).mean() for deviation in deviations]
    correlation = covariance / (np.sqrt(variances[0] * variances[1]) + 1e-6)
    return float(correlation), float(np.abs(one - other).mean())
