"""Transparency: a picture's alpha, and its colours where it is soft or cut out.

Colours stay as the file has them, not mixed with any ground: mixed with white, a cut-out would have
a pale fringe on every other ground. Where nothing is visible, they are continued from where it is,
so that a network sees no edge there, and paints none.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageChops
from torch import Tensor

from fst.pictures.depth import is_deep, strips

MIN_ALPHA = 8
"""Up to this alpha, of 255, colours are lost in rounding, and not visible."""
_AT_ONCE_PX = 1_000_000
"""Pixels that are processed at once, and of the picture in which colours are continued; roughly."""


def alpha_of(picture: Image.Image) -> Image.Image | None:
    """Return the alpha of a picture of any mode, in mode L; None if it has none."""
    if not picture.has_transparency_data:
        return None
    if picture.mode in ("RGBA", "LA"):
        return picture.getchannel("A")
    if not is_deep(picture):
        return picture.convert("RGBA").getchannel("A")
    alpha = np.empty((picture.height, picture.width), np.uint8)
    for rows, values in strips(picture):
        alpha[rows] = np.where(values == picture.info["transparency"], 0, 255)
    return Image.fromarray(alpha)


def over_white(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """Composite a picture of mode RGB over white, in place."""
    if alpha is not None:
        colours.paste("white", mask=ImageChops.invert(alpha))
    return colours


def resize_with_alpha(
    colours: Image.Image, alpha: Image.Image | None, size: tuple[int, int]
) -> tuple[Image.Image, Image.Image | None]:
    """Scale a picture of mode RGB to (width, height); each colour counts by its alpha."""
    bicubic = Image.Resampling.BICUBIC
    if alpha is None or alpha.getextrema() == (255, 255):
        return colours.resize(size, bicubic), alpha and alpha.resize(size, bicubic)
    width, height = size
    scale = colours.height / height
    margin = math.ceil(2 * max(scale, 1)) + 1  # of source rows that a row of the result depends on
    step = max(1, int(max(_AT_ONCE_PX / colours.width, 4 * margin) / scale))
    scaled = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first = max(0, math.floor(top * scale) - margin)
        last = min(colours.height, math.ceil(bottom * scale) + margin)
        part = (0, first, colours.width, last)
        box = (0, top * scale - first, colours.width, min(bottom * scale, colours.height) - first)
        scaled[top:bottom] = _weight_by_alpha(
            colours.crop(part), alpha.crop(part), (width, bottom - top), box
        )
    return Image.fromarray(scaled), alpha.resize(size, bicubic)


def _weight_by_alpha(
    colours: Image.Image,
    alpha: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
) -> np.ndarray:
    """Return a box of a picture scaled to (width, height), each colour weighted by its alpha."""
    opaque = Image.new("L", alpha.size, 255)
    red, green, blue, weight = (
        np.asarray(_times(channel, alpha).resize(size, Image.Resampling.BICUBIC, box), np.float32)
        for channel in (*colours.split(), opaque)
    )
    colour = np.stack([red, green, blue], axis=-1) * (255 / np.maximum(weight, 1))[..., None]
    return colour.clip(0, 255).round()


def _times(channel: Image.Image, alpha: Image.Image) -> Image.Image:
    """Return the product of two pictures of mode L in 15 bits: 16 leave none for overshoots."""
    product = np.multiply(np.asarray(channel), np.asarray(alpha), dtype=np.uint16)
    product >>= 1
    return Image.fromarray(product)


def continue_colours(colours: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """Continue the colours of a picture of mode RGB to where it is transparent, in place.

    Those with an alpha above `MIN_ALPHA` stay.
    """
    if alpha is None:
        return colours
    least, most = alpha.getextrema()
    if not isinstance(least, int) or least > MIN_ALPHA or most <= MIN_ALPHA:
        return colours
    hidden = alpha.point([255 * (value <= MIN_ALPHA) for value in range(256)])
    factor = math.ceil(math.sqrt(colours.width * colours.height / _AT_ONCE_PX))
    small = _fill(*_reduce(colours, hidden, factor))
    filling = Image.fromarray(small[0].permute(1, 2, 0).round().byte().numpy())
    step = max(1, _AT_ONCE_PX // colours.width)
    for top in range(0, colours.height, step):
        bottom = min(top + step, colours.height)
        mask = hidden.crop((0, top, colours.width, bottom))
        box = (0, top / factor, colours.width / factor, bottom / factor)
        colours.paste(
            filling.resize(mask.size, Image.Resampling.BILINEAR, box), (0, top), mask=mask
        )
    return colours


def _reduce(colours: Image.Image, hidden: Image.Image, factor: int) -> tuple[Tensor, Tensor]:
    """Return the means of cells of `factor` squared pixels: colours (1, 3, h, w), weights.

    Hidden colours count as 0, and their weight (1, 1, h, w) is 0.
    """
    step = factor * max(1, _AT_ONCE_PX // (colours.width * factor))
    # In place: small results kept between large temporary ones would fragment memory.
    whole = torch.empty(1, 4, *(math.ceil(side / factor) for side in reversed(colours.size)))
    for top in range(0, colours.height, step):
        box = (0, top, colours.width, min(top + step, colours.height))
        visible = torch.from_numpy(np.array(hidden.crop(box)) == 0)[None, None].float()
        pixels = torch.from_numpy(np.array(colours.crop(box))).permute(2, 0, 1)[None].float()
        weighted = torch.cat([pixels * visible, visible], 1)
        rows = slice(top // factor, math.ceil(box[3] / factor))
        whole[:, :, rows] = F.avg_pool2d(weighted, factor, ceil_mode=True)
    return whole[:, :3], whole[:, 3:]


def _fill(weighted: Tensor, weight: Tensor) -> Tensor:
    """Return colours (1, 3, H, W); unknown ones come from a picture of half the size.

    Args:
        weighted: colours times their weights, (1, 3, H, W).
        weight: (1, 1, H, W), 0 where the colour is unknown, but not everywhere.
    """
    colours = weighted / weight.clamp_min(1e-9)
    known = weight > 0
    if known.all():
        return colours
    halved = F.avg_pool2d(torch.cat([weighted, weight], 1), 2, ceil_mode=True)
    coarse = _fill(halved[:, :3], halved[:, 3:])
    around = F.interpolate(coarse, list(weight.shape[-2:]), mode="bilinear")
    return torch.where(known, colours, around)
