"""Video filters: they change stylized frames and may remember earlier ones.

A filter object belongs to one scene of a video and is called once per frame, in order, so it may
keep state. To add one, write such a callable here and include it in the `filters` of
`fst.video.video.stylize_video`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from fst.errors import UserError
from fst.video.cuts import CutDetector
from fst.video.motion import follow, motion

VideoFilter = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Called with a content frame and its stylized frame, returns the frame to write.

All are uint8 RGB (H, W, 3), of one size throughout a video. The next filter gets the result."""


class SceneFilters:
    """Applies filters in order, new ones for each scene, so that nothing is carried over a cut.

    Args:
        make: returns the filters for a scene.
    """

    def __init__(self, make: Callable[[], Sequence[VideoFilter]]) -> None:
        self._make = make
        self._filters = make()
        self._begins_scene = CutDetector()

    def __call__(self, content: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        """Return the filtered result; all are uint8 RGB (H, W, 3)."""
        if self._filters and self._begins_scene(content):
            self._filters = self._make()
        for video_filter in self._filters:
            stylized = video_filter(content, stylized)
        return stylized


class TemporalSmoother:
    """Reduces flicker: blends each result with the previous one where the input shows the same.

    A network that sees one frame at a time turns sensor noise into changing strokes, and through
    its global statistics anything that moves changes strokes in static places too. So, as in a
    recursive (infinite impulse response) denoiser,

        w = smooth * exp(-(d / sigma)^2)
        result_t = stylized_t + w * (result_{t-1} - stylized_t)
        reference_t = input_t + w * (reference_{t-1} - input_t)

    where d is the distance of the input from the reference, and result_{t-1} and reference_{t-1}
    have followed the motion of the input (`Motion`; without OpenCV they stay where they are). Input
    and reference are averaged over cells, 90 along the shorter side, so that noise does not count
    as change; d is the largest difference of the channels, dilated to the neighbouring cells, so
    that w is 0 up to the edges of what motion does not explain: occlusions, changes of light,
    errors of the flow. The reference is updated with the same weights as the result: d is thus
    measured from the inputs that the blended result shows, and slow drift adds up in it until the
    old result fades. Random changes from frame to frame are reduced to
    sqrt((1 - smooth) / (1 + smooth)) of their deviation, a third for 0.8; changes over many frames
    remain. Strokes that do not move with their object are softened.
    """

    rows = 90
    """Cells along the shorter side of the frame, each at least 4 px wide."""
    sigma = 6.0
    """Change of a cell, in levels of 255, at which the weight has fallen to `smooth` / e."""

    def __init__(self, smooth: float) -> None:
        if not 0 <= smooth < 1:
            raise UserError(f"smooth={smooth} must be in [0, 1)")
        self.smooth = smooth
        self._motion = motion()
        self._state: tuple[np.ndarray, np.ndarray] | None = None

    @torch.no_grad()
    def __call__(self, content: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        """Return the smoothed result; all are uint8 (H, W, 3), of the same size in every call."""
        planes = torch.from_numpy(content).permute(2, 0, 1)[None]
        cell_px = max(4, min(content.shape[:2]) / self.rows)
        cells = [math.ceil(side / cell_px) for side in content.shape[:2]]
        # On bytes, this antialiased filter is ten times as fast as pooling floats.
        means = F.interpolate(planes, cells, mode="bilinear", antialias=True).float()
        result = torch.from_numpy(stylized).float()
        moved = self._motion(content) if self._motion else None
        if self._state is not None:
            state, known = self._state, None
            if moved:
                flow, known = moved
                state = follow(state[0], flow), follow(state[1], flow)
            reference, previous = (torch.from_numpy(part) for part in state)
            reference = reference.permute(2, 0, 1)[None]
            change = (means - reference).abs().amax(1, keepdim=True)
            change = F.max_pool2d(change, 3, 1, 1)
            weight = self.smooth * torch.exp(-((change / self.sigma) ** 2))
            if known is not None:
                weight = weight * F.adaptive_avg_pool2d(
                    torch.from_numpy(known)[None, None], tuple(cells)
                )
            means = torch.lerp(means, reference, weight)
            shown = F.interpolate(weight, content.shape[:2], mode="bilinear")[0, 0, ..., None]
            result = previous.sub_(result).mul_(shown).add_(result)
        self._state = means[0].permute(1, 2, 0).contiguous().numpy(), result.numpy()
        return result.round().clamp_(0, 255).byte().numpy()
