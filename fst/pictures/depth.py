"""Grey of more than 8 bits: 16-bit and floating-point pictures, which Pillow would clip at 255."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

_STRIP_PX = 1_000_000
"""Pixels that are converted at once."""
_BITS_PER_SAMPLE = 258
_STRAY = 0.01
"""Share of a picture's pixels that may lie above white: highlights and hot pixels."""
_HIGHLIGHTS = 16.0
"""How bright highlights are, where white is 1."""


def is_deep(picture: Image.Image) -> bool:
    """Return whether a picture is grey of more than 8 bits."""
    return picture.mode.startswith(("I", "F"))


def to_8_bit(picture: Image.Image) -> Image.Image:
    """Return grey of more than 8 bits in mode L, scaled so that white is 255."""
    white = _white(picture)
    result = np.empty((picture.height, picture.width), np.uint8)
    for rows, values in strips(picture):
        with np.errstate(invalid="ignore"):  # signalling NaN
            shares = values.astype(np.float64) / white
        strip = np.nan_to_num(shares, posinf=1, neginf=0) * 255
        result[rows] = strip.clip(0, 255).round()
    return Image.fromarray(result)


def _white(picture: Image.Image) -> float:
    """Return the value that is white."""
    if picture.mode == "F":
        return _white_of_floats(picture)
    if picture.mode == "I":
        largest = max((int(values.max()) for _, values in strips(picture)), default=0)
        return 255.0 if largest <= 255 else 65535.0
    # Pillow reads 12-bit TIFF, but does not scale it to 16 bits.
    bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    return 4095.0 if bits == (12,) else 65535.0


def _white_of_floats(picture: Image.Image) -> float:
    """Return 1, 255 or 65535, whichever the values of a floating-point picture are shares of."""
    above = dict.fromkeys((0.0, 1.0, _HIGHLIGHTS, 2 * 255.0), 0)
    for _, values in strips(picture):
        for limit in above:
            above[limit] += int((values > limit).sum())
    stray = _STRAY * picture.width * picture.height
    if above[1.0] <= 0.5 * above[0.0] and above[_HIGHLIGHTS] <= stray:
        return 1.0
    return 255.0 if above[2 * 255.0] <= stray else 65535.0


def strips(picture: Image.Image) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows of a picture and their values: Pillow converts through several copies of them."""
    step = max(1, _STRIP_PX // max(1, picture.width))
    for top in range(0, picture.height, step):
        rows = slice(top, min(top + step, picture.height))
        whole = step >= picture.height
        yield (
            rows,
            np.asarray(
                picture if whole else picture.crop((0, rows.start, picture.width, rows.stop))
            ),
        )
