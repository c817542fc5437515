"""Motion between the frames of a video, by OpenCV, an optional extra that is imported when used."""

import numpy as np

from fst.video.opencv import opencv

_ROWS = 180
"""Motion is estimated at this many pixels along the shorter side ..."""
_SMALLEST = 16
"""... and at least this many, below which OpenCV refuses."""
_GAIN = 1.0
"""By how many levels of 255 motion must explain a neighbourhood better than rest does."""
_NEIGHBOURHOOD = 9, 9
_STEEP = 2.0
"""Flow that differs by this many pixels between neighbours is not known."""


class Motion:
    """Estimates the motion from each frame back to the one before.

    The flow is found by dense inverse search (Kroeger et al. 2016, "Fast optical flow using dense
    inverse search"). It is set to zero where the frame before, warped along it, is not clearly more
    like the frame than it was unwarped: in static places, flow is noise and warping would blur.
    """

    def __init__(self) -> None:
        cv2 = opencv()
        self._cv2 = cv2
        self._search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._before: np.ndarray | None = None

    def __call__(self, content: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the flow of a frame, uint8 RGB (H, W, 3), and where it is known.

        It is not known where it changes abruptly (Ruder et al. 2016, "Artistic style transfer for
        videos", equation 6): at the edges of moving objects, flow is smeared.

        Returns:
            (h, w, 2) float32, as `follow` takes it: right and down, as fractions of the width and
            the height; (h, w) float32, 0 or 1. None for the first frame, and for frames with a side
            below 16 pixels.
        """
        cv2 = self._cv2
        scale = min(1, _ROWS / min(content.shape[:2]))
        height, width = (round(side * scale) for side in content.shape[:2])
        if min(height, width) < _SMALLEST:
            return None
        small = cv2.resize(content, (width, height), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        before, self._before = self._before, grey
        if before is None:
            return None
        pixels = self._search.calc(grey, before, None)
        flow = pixels / np.array([width, height], np.float32)
        moving, resting = (
            cv2.blur(cv2.absdiff(grey, other).astype(np.float32), _NEIGHBOURHOOD)
            for other in (follow(before, flow), before)
        )
        rests = resting - moving <= _GAIN
        flow[rests] = pixels[rests] = 0
        steps = cv2.morphologyEx(pixels, cv2.MORPH_GRADIENT, np.ones((3, 3)))
        return flow, (steps.max(-1) < _STEEP).astype(np.float32)


def follow(before: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return a picture of the frame before, (H, W) or (H, W, C), warped to the present frame."""
    cv2 = opencv()
    height, width = before.shape[:2]
    steps = cv2.resize(flow, (width, height)) * np.array([width, height], np.float32)
    rows, columns = np.indices((height, width), np.float32)
    return np.asarray(
        cv2.remap(
            before,
            columns + steps[..., 0],
            rows + steps[..., 1],
            cv2.INTER_CUBIC,  # linear interpolation would blur a little more with each frame
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def motion() -> Motion | None:
    """Return a new `Motion`, or None if OpenCV is not installed."""
    try:
        return Motion()
    except ImportError:
        return None
