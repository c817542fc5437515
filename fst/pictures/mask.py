"""Masks: pictures that say where another is stylized, white, and where it is kept, black."""

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
