"""Strokes of another size: the network sees the picture at another resolution.

A network's strokes have the same number of pixels in every picture, so in a large one they are
small. Seen at half its resolution, a picture gets strokes of twice the size; what that takes of its
sharpness is brought back from the picture itself.

Shapes: N pictures, H x W pixels.
"""

import torch.nn.functional as F
from torch import Tensor

from fst.pictures.image import luminance


def scale(image: Tensor, factor: float) -> Tensor:
    """Return (N, 3, H, W) in [0, 1] with height and width times `factor`, at least a pixel each."""
    return _fit(image, [max(1, round(length * factor)) for length in image.shape[-2:]])


def with_details(stylized: Tensor, content: Tensor, seen: Tensor) -> Tensor:
    """Return what was stylized at another resolution at the picture's own, as sharp as that is.

    To the enlarged result comes the luminance that the picture lost when it was made smaller:
    edges and fine lines, which a network keeps where they are.

    Args:
        stylized: the network's result, of the shape of `seen`.
        content: the picture, (N, 3, H, W) in [0, 1].
        seen: what the network was given, `scale(content, ...)`.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    size = list(content.shape[-2:])
    result = _fit(stylized, size)
    if seen.shape[-1] < content.shape[-1]:
        result += luminance(content) - _fit(luminance(seen), size)
    return result.clamp_(0, 1)


def _fit(image: Tensor, size: list[int]) -> Tensor:
    return F.interpolate(image, size, mode="bicubic", antialias=True).clamp_(0, 1)
