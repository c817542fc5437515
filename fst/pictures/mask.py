"""Masks: pictures that say where another is stylized, white, and where it is kept, black."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops
from torch import Tensor

from fst.errors import UserError
from fst.pictures.colour import colours_of_picture
from fst.pictures.image import at_most, decode, split_srgb

_MAX_PX = 16_000_000
"""Larger masks are reduced to this many pixels."""
_STRIP_ROWS = 256
_CLASSES = 20
"""No brighter than this of 255, a mask is taken for the numbers of classes."""


def read_mask(path: Path) -> Image.Image:
    """Return a mask's file in mode L, 255 where a picture is stylized, at most 16 megapixels.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be decoded, or its values are next to each other.
    """
    decoded = decode(path)
    return at_most(_mask(decoded.colours, decoded.alpha, str(path)), _MAX_PX)


def stretch(mask: Image.Image, height: int, width: int) -> Tensor:
    """Return a mask of mode L as (1, 1, `height`, `width`) in [0, 1]."""
    scaled = mask.resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(scaled))[None, None].float() / 255


def mask_of(picture: Image.Image) -> Image.Image:
    """Return a picture of any mode as a mask of mode L.

    Raises:
        UserError: its values are next to each other.
    """
    return _mask(*split_srgb(picture, colours_of_picture(picture)), "the mask")


def is_black(mask: Image.Image) -> bool:
    """Say whether a mask of mode L stylizes nothing."""
    return mask.getbbox() is None


def opacities(masks: Sequence[Tensor]) -> list[Tensor]:
    """Return how opaque layers are when each is laid over those before it, as `lay_over` does.

    Where masks add up to more than 1, the last has what it asks for and earlier ones share the
    rest, so the last lies on top. Where two edges fade into each other, they add up to 1 and
    nothing below shows through, as it would if each mask were its layer's opacity.

    Args:
        masks: of the layers from the lowest up, (1, 1, H, W) in [0, 1].
    """
    found: list[Tensor] = []
    left = torch.ones(())
    for mask in reversed(masks):
        taken = mask.minimum(left)
        found.insert(0, torch.where(taken > 0, taken / left, 0))
        left = left - taken
    return found


def lay_over(below: Tensor, above: Tensor, opacity: Tensor) -> None:
    """Mix one picture into another, in place.

    Args:
        below: (N, 3, H, W), float in [0, 1] or uint8.
        above: the same.
        opacity: (1, 1, H, W), how much of `above` the result has; 0 and 1 are exact.
    """
    for rows in range(0, below.shape[-2], _STRIP_ROWS):  # as floats a large one fills memory
        strip = (..., slice(rows, rows + _STRIP_ROWS), slice(None))
        weight = opacity[strip].to(below.device)
        mixed = torch.lerp(below[strip].float(), above[strip].float(), weight)
        below[strip] = mixed if below.is_floating_point() else mixed.round()


def _mask(colours: Image.Image, alpha: Image.Image | None, name: str) -> Image.Image:
    mask = colours.convert("L")
    if alpha is not None:
        mask = ImageChops.multiply(mask, alpha)
    least, most = mask.getextrema()
    assert isinstance(least, int) and isinstance(most, int)  # noqa: PT018, of mode L
    if most - least == 1 or 0 < most <= _CLASSES:
        raise UserError(
            f"{name} has values from {least} to {most} only: black (0) is kept and white (255) is "
            "stylized, so stretch them to 0 and 255 first"
        )
    return mask
