"""The colour term: any palette is free, and what has one colour keeps one colour."""

import pytest
import torch
from torch import Tensor

from fst.losses.colour import Colour
from fst.losses.light import average_areas

TERM = Colour(1.0)


def areas_of_colour(seed: int, px: int = 128, cells: int = 4) -> Tensor:
    """Large squares of random colours."""
    colours = torch.rand(1, 3, cells, cells, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(colours, size=px)


def distance(result: Tensor, photograph: Tensor) -> float:
    return TERM(result, TERM.target(photograph)).item()


@pytest.mark.parametrize(
    "matrix",
    [
        torch.eye(3),
        torch.eye(3)[[2, 0, 1]],  # red things blue, blue ones green
        torch.tensor([[-0.5, 0.2, 0.1], [0.0, 0.4, -0.3], [0.1, 0.0, 0.2]]),
        torch.full((3, 3), 0.3),  # grey
    ],
)
def test_any_affine_change_of_palette_is_free(matrix):
    photograph = areas_of_colour(0)
    result = torch.einsum("ij,njhw->nihw", matrix, photograph) + 0.2
    assert distance(result, photograph) < 0.01


def test_it_is_the_share_of_variance_that_a_linear_regression_leaves():
    photograph, result = areas_of_colour(1), areas_of_colour(2)
    x, y = (average_areas(picture, 8)[0].T for picture in (photograph, result))
    ones = torch.ones(len(x), 1)
    solution = torch.linalg.lstsq(torch.cat([x, ones], 1), y).solution
    left = y - torch.cat([x, ones], 1) @ solution
    expected = left.square().sum() / (y - y.mean(0)).square().sum()
    assert distance(result, photograph) == pytest.approx(expected.item(), abs=0.02)


def test_camouflage_on_a_plain_ground_is_as_bad_as_can_be_and_strokes_are_free():
    half = torch.zeros(1, 3, 128, 128)
    half[..., 64:] = 1  # a dark and a light thing
    checks = torch.arange(128)
    for px, bounds in ((2, (0, 0.01)), (32, (0.5, 1))):
        board = ((checks[:, None] // px + checks // px) % 2).float()
        patches = torch.stack([board, 1 - board, 0.5 * torch.ones_like(board)])[None]
        low, high = bounds
        assert low <= distance(0.2 * half + 0.6 * patches, half) <= high


def test_it_does_not_depend_on_contrast_nor_on_the_scale_of_the_photograph():
    photograph, result = areas_of_colour(3), areas_of_colour(4)
    for other in ((0.5 * result + 0.3, photograph), (result, 0.5 * photograph + 0.1)):
        assert distance(*other) == pytest.approx(distance(result, photograph), abs=0.02)


@pytest.mark.parametrize("size", [(8, 8), (5, 40), (100, 131)])
def test_any_size_follows_from_itself(size):
    picture = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    assert TERM(picture, TERM.target(picture)).max() < 0.1


def test_blank_pictures_have_finite_gradients():
    for photograph in (torch.full((1, 3, 64, 64), 0.5), areas_of_colour(5, 64)):
        result = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
        TERM(result, TERM.target(photograph)).sum().backward()
        assert result.grad is not None and result.grad.isfinite().all()
