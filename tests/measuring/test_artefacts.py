"""Artefacts added on purpose are found with their true size, and nothing else is."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fst.config import JohnsonConfig
from fst.measuring.artefacts import (
    BORDER_PX,
    blown_share,
    border_of,
    grid_of,
    measure_artefacts,
    smooth_pictures,
)
from fst.networks.johnson import Johnson

SIDE = 256
PLACE = torch.arange(SIDE)
PICTURES = smooth_pictures(4, SIDE, 1)


class OnMps(torch.Tensor):
    """A tensor as on MPS, which has no fp64; `cpu` returns a plain one."""

    def double(self) -> Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)


def test_measures_need_no_fp64_on_the_device():
    on_mps = PICTURES.as_subclass(OnMps)
    assert grid_of(on_mps) == grid_of(PICTURES)
    assert border_of(on_mps, on_mps) == border_of(PICTURES, PICTURES)


def checkerboard(period: int) -> Tensor:
    """Of -1 and 1, (SIDE, SIDE)."""
    across = PLACE // (period // 2)
    return 1.0 - 2 * ((across[:, None] + across) % 2)


def columns(period: int) -> Tensor:
    """A column of 1 every `period` pixels, mean 0: power at the frequency and its harmonics."""
    return (PLACE % period == 0).float().expand(SIDE, SIDE) - 1 / period


def test_smooth_pictures_are_smooth_and_reproducible():
    power = torch.fft.fft2(PICTURES).abs().square().sum((0, 1))
    beyond = torch.hypot(*torch.meshgrid(2 * [torch.fft.fftfreq(SIDE)], indexing="ij")) > 1 / 31
    assert power[beyond].sum() < 1e-9 * power[~beyond].sum()
    assert PICTURES.min() >= 0.15 - 1e-6
    assert PICTURES.max() <= 0.85 + 1e-6
    assert (PICTURES.std((2, 3)) > 0.03).all()
    assert torch.equal(PICTURES, smooth_pictures(4, SIDE, 1))
    assert not torch.equal(PICTURES, smooth_pictures(4, SIDE, 2))


@pytest.mark.parametrize("arguments", [(0, 256, 0), (1, 64, 0), (1, 260, 0)])
def test_invalid_smooth_pictures_are_refused(arguments: tuple[int, int, int]):
    with pytest.raises(ValueError, match=r"count=0|side_px=64|side_px=260"):
        smooth_pictures(*arguments)


@pytest.mark.parametrize("pattern", [checkerboard(2), checkerboard(4), columns(2), columns(4)])
@pytest.mark.parametrize("amplitude", [0.5, 10])
def test_a_grid_is_found_with_its_amplitude(pattern: Tensor, amplitude: float):
    ratio, levels = grid_of(PICTURES + amplitude / 255 * pattern)
    assert ratio > 50
    assert levels == pytest.approx(amplitude * pattern.square().mean().sqrt().item(), rel=0.01)


def test_a_grid_modulated_by_content_is_found_completely():
    waves = torch.sin(2 * math.pi * PLACE / 64)
    modulation = waves[:, None] * waves  # mean 0: nothing is left at the grid's very frequency
    _, levels = grid_of(PICTURES + 8 / 255 * modulation * checkerboard(4))
    assert levels == pytest.approx(8 / 2, rel=0.05)
    _, levels = grid_of(PICTURES + 8 / 255 * (PICTURES - 0.5) * checkerboard(2))
    assert levels == pytest.approx(8 * (PICTURES - 0.5).square().mean().sqrt().item(), rel=0.15)


def test_a_grid_in_noise_has_its_amplitude_and_noise_alone_is_not_a_grid():
    noise = 10 / 255 * torch.randn(PICTURES.shape)
    ratio, levels = grid_of(PICTURES + noise)
    assert ratio == pytest.approx(1, abs=0.15)
    assert levels < 1
    _, levels = grid_of(PICTURES + noise + 5 / 255 * checkerboard(4))
    assert levels == pytest.approx(5, rel=0.03)


def test_transposed_convolutions_are_distinguished_from_nearest_upsampling():
    measured = {}
    for upsample in ("transposed", "nearest"):
        torch.manual_seed(0)
        measured[upsample] = measure_artefacts(
            Johnson(JohnsonConfig(width=16, upsample=upsample)).eval(), [PICTURES[:1]], count=2
        )
    assert measured["transposed"].grid_ratio > 5 * measured["nearest"].grid_ratio
    assert measured["transposed"].grid_levels > 3 * measured["nearest"].grid_levels


def test_the_identity_has_no_artefacts():
    found = measure_artefacts(lambda image: image, [PICTURES], count=2)
    assert found.grid_ratio == pytest.approx(1, abs=0.01)
    assert found.grid_levels < 0.01
    assert found.border_contrast == pytest.approx(1)
    assert found.border_levels == pytest.approx(0, abs=1e-4)
    assert found.blown_share == found.blown_share_input == 0


def in_strip(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that changes only the border strip."""

    def stylize(image: Tensor) -> Tensor:
        changed = change(image)
        inside = slice(BORDER_PX, -BORDER_PX)
        changed[..., inside, inside] = image[..., inside, inside]
        return changed

    return stylize


def test_a_border_of_twice_the_contrast_is_found():
    doubled = in_strip(lambda image: 2 * image - 0.5)
    assert measure_artefacts(doubled, [PICTURES], count=2).border_contrast == pytest.approx(4)


def test_a_border_of_another_colour_is_found():
    offset = torch.tensor([-20.0, 10, 0])[:, None, None]
    found = measure_artefacts(in_strip(lambda image: image + offset / 255), [PICTURES], count=2)
    assert found.border_levels == pytest.approx(math.sqrt(500 / 3), rel=1e-4)
    assert found.border_contrast == pytest.approx(1, rel=1e-4)


def test_clipped_values_are_counted():
    image = torch.full((1, 3, 10, 10), 0.5)
    image[0, 0, :2], image[0, 1, 0] = 0.001, 0.999  # 20 and 10 of 300 values, 8 bits' 0 and 255
    image[0, 2, 0] = 0.002  # 8 bits' 1
    assert blown_share(image) == pytest.approx(0.1)
    blow = measure_artefacts(lambda picture: (picture > 0.5).float(), [image, PICTURES], count=1)
    assert blow.blown_share == 1
    assert blow.blown_share_input == pytest.approx(30 / (300 + PICTURES.numel()))
    with pytest.raises(ValueError, match="no pictures"):
        measure_artefacts(lambda picture: picture, [], count=1)
