"""Artefacts of a stylization, whatever its style: grids, blown pixels, a border that differs.

>>> measure_artefacts(fst.load("runs/the_scream"), [fst.read_image("photo.jpg")])

Grids and borders are looked for in stylized smooth pictures, which have neither themselves.
Tensors are (N, 3, H, W), float in [0, 1]; levels are of 255.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fst.errors import UserError

BORDER_PX = 8
"""Width of the strip that is compared with the centre."""
_BAND = 1 / 32
"""Highest frequency of the smooth pictures, in cycles per pixel."""
_AROUND = 1 / 24, 1 / 10
"""Distances to a frequency of the grid between which its surroundings are, in cycles per pixel."""
_ROUNDING = 1 / 12
"""Power of the noise that rounding to 8 bits makes, in squared levels."""


@dataclass(frozen=True)
class Artefacts:
    """What `measure_artefacts` found."""

    grid_ratio: float
    """Power at the frequency of the grid that stands out most, over that of its surroundings; 1:
    nothing stands out."""
    grid_levels: float
    """Amplitude of the grid, all its frequencies together: root mean square, in levels of 255."""
    blown_share: float
    """Share of the values of the stylized pictures that are 0 or 255 in 8 bits, in [0, 1]."""
    blown_share_input: float
    """The same of the pictures themselves."""
    border_contrast: float
    """Squared difference of neighbours in the border strip, over that of the same content in the
    centre; 1: alike."""
    border_levels: float
    """By how much the border strip's mean colour is off: root mean square of the channels, in
    levels of 255."""


def measure_artefacts(
    stylize: Callable[[Tensor], Tensor],
    pictures: Iterable[Tensor],
    count: int = 16,
    side_px: int = 256,
    seed: int = 0,
) -> Artefacts:
    """Measure what a stylization leaves besides its style.

    Args:
        stylize: takes (1, 3, H, W) in [0, 1] and returns the same.
        pictures: photographs, each (N, 3, H, W) in [0, 1], for the share of blown values.
        count: of the smooth pictures, each of which is stylized twice.
        side_px: of the smooth pictures.
        seed: of the smooth pictures.

    Raises:
        UserError: there is no picture, or what `smooth_pictures` raises.
    """
    smooth = smooth_pictures(count, side_px, seed)
    half = side_px // 2
    stylized = _one_by_one(stylize, smooth)
    shifted = _one_by_one(stylize, smooth.roll((half, half), (2, 3)))
    grid_ratio, grid_levels = grid_of(torch.cat([stylized, shifted]))
    # Each of the two is what the other is, shifted by half.
    contrast, levels = border_of(torch.cat([stylized, shifted]), torch.cat([shifted, stylized]))

    values = blown = blown_input = 0.0
    for picture in pictures:
        values += picture.numel()
        blown += picture.numel() * blown_share(_one_by_one(stylize, picture))
        blown_input += picture.numel() * blown_share(picture)
    if not values:
        raise ValueError("no pictures to count the blown values of")
    return Artefacts(
        grid_ratio, grid_levels, blown / values, blown_input / values, contrast, levels
    )


def smooth_pictures(count: int, side_px: int, seed: int) -> Tensor:
    """Return pictures of smooth random colours, (count, 3, side_px, side_px) in [0.15, 0.85].

    Gaussian noise whose amplitude falls with 1 / frequency, as that of photographs does, up to
    1/32 cycles per pixel and is 0 beyond. They are periodic, so that no place in them is special.
    Constant pictures would not do: instance norm divides by their deviation, which is 0.

    Raises:
        UserError: `side_px` is no multiple of 8 (for the grid's frequencies to be bins of the
            spectrum, when shifted by half too) or less than 128, or `count` less than 1.
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
    """Return ratio and levels of a grid of period 4 or 2 px, as `Artefacts` has them.

    Two upsamplings by 2 can leave patterns of these periods (Odena et al. 2016, "Deconvolution and
    checkerboard artifacts"), that is power at the frequencies (i, j) / 4 cycles per pixel other
    than (0, 0). Smooth content modulates a pattern, which spreads its power over a disc as wide as
    the content's band; what belongs to the style is told from it by the median power of a ring
    around the disc. The spectrum is the mean over pictures and channels, each less its mean and
    under a Hann window, which keeps leakage from the low frequencies below a thousandth of a level.
    The noise of 8-bit pictures is added throughout: what drowns in it does not stand out.
    Thin strokes that run along the sides of the picture leave streaks in the spectrum, which alone
    can give ratios of about 2 and, where strokes are strong, a few levels.

    Args:
        images: stylized smooth pictures, square, of a side that is a multiple of 4.
    """
    side = images.shape[-1]
    levels = images.double().cpu() * 255
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
    """Return contrast and levels of the border strip, as `Artefacts` has them.

    Compared is the same content, once at the border and once in the centre.

    Args:
        stylized: stylized periodic pictures, (N, 3, S, S).
        shifted: the results of the same pictures shifted cyclically by half their side, both ways.
    """
    side = stylized.shape[-1]
    half = side // 2
    centred = stylized.double().roll((half, half), (2, 3)).cpu()
    at_border = shifted.double().cpu()

    place = torch.arange(side)
    edge = torch.minimum(place, side - 1 - place)
    far = (place - half + 0.5).abs() - 0.5  # from the middle, which is `stylized`'s border
    strip = torch.minimum(edge[:, None], edge) < BORDER_PX
    strip &= torch.minimum(far[:, None], far) >= side // 8

    offset = (at_border - centred)[..., strip].mean((0, 2))
    sums = [0.0, 0.0]
    for axis in (0, 1):
        # Neighbours across the seam are none in `at_border`, whose opposite sides meet there.
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
