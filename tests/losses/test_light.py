"""The light term: figure and ground by luminance, whatever the texture and the contrast."""

import pytest
import torch
from torch import Tensor

from fst.config import MomentsLossConfig
from fst.losses.light import large_areas
from fst.losses.objective import towards
from fst.losses.relative import MomentsLoss
from fst.losses.statistics import squared_distance
from fst.losses.vgg import load_vgg16


def figure(px: int = 128, ground: float = 0.1, on_it: float = 0.9) -> Tensor:
    """A light square on a dark ground."""
    picture = torch.full((1, 3, px, px), ground)
    picture[..., px // 4 : 3 * px // 4, px // 4 : 3 * px // 4] = on_it
    return picture


def distance(result: Tensor, photograph: Tensor) -> float:
    return squared_distance(large_areas(result), large_areas(photograph)).item()


def test_contrast_and_colour_are_free():
    paint = torch.tensor([0.9, 0.6, 0.1]).view(1, 3, 1, 1)
    for result in (figure(), 0.5 * figure() + 0.3, figure() * paint):
        assert distance(result, figure()) < 0.01


def test_figure_and_ground_exchanged_are_as_far_apart_as_can_be():
    # Standardised maps that are each other's negative: the mean of (2 z)^2 is 4, less CONTRAST.
    assert distance(1 - figure(), figure()) == pytest.approx(4, rel=0.15)


def test_unrelated_light_is_at_two():
    from_left = torch.linspace(0, 1, 128).expand(1, 3, 128, 128)
    assert distance(from_left, from_left.mT) == pytest.approx(2, rel=0.15)


def test_strokes_are_free_and_patches_are_not():
    checks = torch.arange(128)
    for px, bounds in ((2, (0, 0.01)), (32, (0.3, 2))):
        board = ((checks[:, None] // px + checks // px) % 2).float().expand(1, 3, 128, 128)
        low, high = bounds
        assert low <= distance(0.5 * figure() + 0.5 * board, figure()) < high


@pytest.mark.parametrize("size", [(8, 8), (5, 40), (100, 131)])
def test_any_size_has_its_areas_and_itself_at_distance_zero(size):
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    areas = large_areas(picture)
    assert areas.isfinite().all()
    assert squared_distance(areas, areas.clone()).tolist() == [0, 0]


def test_a_blank_picture_has_a_finite_gradient():
    result = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    squared_distance(large_areas(result), large_areas(figure(64))).sum().backward()
    assert result.grad is not None and result.grad.isfinite().all()
    blank = large_areas(torch.full((1, 3, 64, 64), 0.7))
    assert blank.abs().max() < 1e-3  # rounding errors are not light


def test_the_term_pulls_a_picture_towards_the_photographs_large_areas():
    photograph, target = figure(64), large_areas(figure(64))
    result = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    for _ in range(60):
        (gradient,) = torch.autograd.grad(squared_distance(large_areas(result), target), result)
        with torch.no_grad():
            result -= 0.01 * gradient / gradient.abs().max()
    assert distance(result.detach(), photograph) < 0.1


def test_the_term_has_its_weight_and_is_left_out_without(random_vgg):
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    photograph, result, style = (torch.rand(1, 3, 64, 64) for _ in range(3))

    def terms(light_weight: float) -> dict[str, Tensor]:
        config = MomentsLossConfig(light_weight=light_weight)
        return towards(MomentsLoss(vgg, config), style)(result, photograph)

    without, with_light = terms(0), terms(3)
    assert "light" not in without
    expected = squared_distance(large_areas(result), large_areas(photograph))
    torch.testing.assert_close(with_light["light"], expected)
    torch.testing.assert_close(with_light["total"], without["total"] + 3 * expected)
