"""Artefacts of a stylization, whatever its style: grids, clipped values, a different border.

>>> measure_artefacts(fst.load("the_scream"), [fst.read_image("photo.jpg")])

Grids and borders are measured on stylized smooth pictures, which have neither themselves.
Tensors are (N, 3, H, W), float in [0, 1]; levels are of 255.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fst.errors import UserError

BORDER_PX = 8
"""Width of the border strip that is compared with the centre."""
_BAND = 1 / 32
"""Highest frequency of the smooth pictures, in cycles per pixel."""
_AROUND = 1 / 24, 1 / 10
"""Inner and outer radius of a ring around each grid frequency, in cycles per pixel."""
_ROUNDING = 1 / 12
"""Power of the rounding noise of 8-bit values, in squared levels."""


@dataclass(frozen=True)
class Artefacts:
    """The result of `measure_artefacts`."""

    grid_ratio: float
    """Power at the strongest grid frequency relative to neighbouring frequencies; 1: no grid."""
    grid_levels: float
    """Amplitude of the grid over all its frequencies: root mean square, in levels of 255."""
    blown_share: float
    """Share of values in the stylized pictures that are 0 or 255 in 8 bits, in [0, 1]."""
    blown_share_input: float
    """The same for the photographs."""
    border_contrast: float
    """Squared difference of neighbouring pixels in the border strip, relative to that of the same
    content in the centre; 1: no difference."""
    border_levels: float
    """Offset of the border strip's mean colour: root mean square of the channels, in levels of
    255."""


def measure_artefacts(
    stylize: Callable[[Tensor], Tensor],
    pictures: Iterable[Tensor],
    count: int = 16,
    side_px: int = 256,
    seed: int = 0,
) -> Artefacts:
    """Measure the artefacts of a stylization.

    Args:
        stylize: takes (1, 3, H, W) in [0, 1] and returns the same.
        pictures: photographs, each (N, 3, H, W) in [0, 1], for the share of clipped values.
        count: number of smooth pictures, each of which is stylized twice.
        side_px: side of the smooth pictures.
        seed: seed of the smooth pictures.

    Raises:
        UserError: there are no pictures, or see `smooth_pictures`.
    """
    smooth = smooth_pictures(count, side_px, seed)
    half = side_px // 2
    stylized = _one_by_one(stylize, smooth)
    shifted = _one_by_one(stylize, smooth.roll((half, half), (2, 3)))
    grid_ratio, grid_levels = grid_of(torch.cat([stylized, shifted]))
    # Each of the two is the other one, shifted by half its side.
    contrast, levels = border_of(torch.cat([stylized, shifted]), torch.cat([shifted, stylized]))

    values = blown = blown_input = 0.0
    for picture in pictures:
        values += picture.numel()
        blown += picture.numel() * blown_share(_one_by_one(stylize, picture))
        blown_input += picture.numel() * blown_share(picture)
    if not values:
        raise ValueError("no pictures given to measure the share of clipped values")
    return Artefacts(
        grid_ratio, grid_levels, blown / values, blown_input / values, contrast, levels
    )


def smooth_pictures(count: int, side_px: int, seed: int) -> Tensor:
    """Return pictures of smooth random colours, (count, 3, side_px, side_px) in [0.15, 0.85].

    Gaussian noise whose amplitude falls with 1 / frequency, like that of photographs, up to 1/32
    cycles per pixel, and is 0 beyond. The pictures are periodic, so that no place is special.
    Constant pictures are unsuitable: instance norm divides by their deviation, which is 0.

    Raises:
        UserError: `side_px` is not a multiple of 8 (the grid's frequencies must be bins of the
            spectrum, also after a shift by half the side) or below 128, or `count` is below 1.
    """
    if count < 1:
        raise UserError(f"count={count} must be at least 1")
    if side_px < 128 or side_px % 8:
        raise UserError(f"side_px={side_px} must be a multiple of 8, and at least 128")
    noise = torch.randn(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(seed))
    frequency = torch.fft.fftfreq(side_px)
    distance = torch.hypot(frequency[:, None], frequency)
    amplitude = torch.where(distance <= _BAND, 1 / distance.clamp(min=1 / side_px), 0)
    field = torch.fft.ifft2(torch.fft.fft2(noise) * amplitude).real
    pictures: Tensor = 0.5 + 0.35 * field / field.abs().amax((1, 2, 3), keepdim=True)
    return pictures


def grid_of(images: Tensor) -> tuple[float, float]:
    """Return ratio and levels of a grid of period 4 or 2 px, as defined by `Artefacts`.

    Two upsamplings by 2 can leave patterns of these periods (Odena et al. 2016, "Deconvolution and
    checkerboard artifacts"), that is, power at the frequencies (i, j) / 4 cycles per pixel other
    than (0, 0). Smooth content modulates the pattern, which spreads its power over a disc as wide
    as the content's band. The median power of a ring around the disc is taken as that of the style.
    The spectrum is the mean over pictures and channels, each minus its mean and under a Hann
    window, which keeps leakage from low frequencies below a thousandth of a level. The power of
    8-bit rounding noise is added everywhere, so that weaker patterns do not count. Thin strokes
    parallel to the sides of the picture leave streaks in the spectrum, which alone can give ratios
    of about 2 and, if strokes are strong, a few levels.

    Args:
        images: stylized smooth pictures, square, of a side that is a multiple of 4.
    """
    side = images.shape[-1]
    levels = images.cpu().double() * 255  # in this order: MPS has no fp64
    levels -= levels.mean((2, 3), keepdim=True)
    hann = torch.hann_window(side, dtype=torch.float64)
    window = hann[:, None] * hann
    # Scaled such that the powers of all bins add up to the mean square.
    scale = side**2 * window.square().sum()
    power = torch.fft.fft2(window * levels).abs().square().mean((0, 1)) / scale
    power += _ROUNDING / side**2

    frequency = torch.fft.fftfreq(side, dtype=torch.float64)
    nearest = (4 * frequency).round()
    offset = frequency - nearest / 4
    distance = torch.hypot(offset[:, None], offset)
    point = 4 * (nearest % 4)[:, None] + nearest % 4  # 4 i + j
    ratios, squares = [], 0.0
    for number in range(1, 16):
        disc = power[(point == number) & (distance <= _BAND)]
        ring = (distance >= _AROUND[0]) & (distance <= _AROUND[1])
        background = power[(point == number) & ring].median()
        ratios.append(float(disc.mean() / background))
        squares += max(0.0, float((disc - background).sum()))
    return max(ratios), squares**0.5


def border_of(stylized: Tensor, shifted: Tensor) -> tuple[float, float]:
    """Return contrast and levels of the border strip, as defined by `Artefacts`.

    The same content is compared at the border and in the centre.

    Args:
        stylized: stylized periodic pictures, (N, 3, S, S).
        shifted: results of the same pictures, cyclically shifted by half their side in both axes.
    """
    side = stylized.shape[-1]
    half = side // 2
    centred = stylized.cpu().double().roll((half, half), (2, 3))
    at_border = shifted.cpu().double()

    place = torch.arange(side)
    edge = torch.minimum(place, side - 1 - place)
    far = (place - half + 0.5).abs() - 0.5  # from the middle, which is `stylized`'s border
    strip = torch.minimum(edge[:, None], edge) < BORDER_PX
    strip &= torch.minimum(far[:, None], far) >= side // 8

    offset = (at_border - centred)[..., strip].mean((0, 2))
    sums = [0.0, 0.0]
    for axis in (0, 1):
        # Pixels across the seam are not neighbours in `at_border`: its opposite sides meet there.
        pair = (strip & strip.roll(-1, axis)).narrow(axis, 0, side - 1)
        for i, images in enumerate((at_border, centred)):
            sums[i] += float(images.diff(dim=2 + axis).square()[..., pair].sum())
    return sums[0] / sums[1], float(offset.square().mean().sqrt() * 255)


def blown_share(images: Tensor) -> float:
    """Return the share of the values that are 0 or 255 when rounded to 8 bits, in [0, 1]."""
    levels = (images.float() * 255).round()
    return float(((levels <= 0) | (levels >= 255)).float().mean())


def _one_by_one(stylize: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([stylize(picture) for picture in torch.split(pictures, 1)])
