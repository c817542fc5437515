"""Drawn stand-ins for photographs."""

import torch

from fst.data.leaves import draw_leaves
from fst.networks.palette import pink_noise
from fst.pictures.image import luminance


def kurtosis(values: torch.Tensor) -> float:
    centred = values - values.mean()
    return (centred.pow(4).mean() / centred.square().mean().square()).item()


def test_a_drawn_picture_follows_from_its_number():
    one, again, other = (draw_leaves(number, 64) for number in (3, 3, 4))
    assert one.shape == (1, 3, 64, 64)
    assert 0 <= one.min() < 0.2 and 0.8 < one.max() <= 1
    assert torch.equal(one, again)
    assert not torch.allclose(one, other)


def test_it_has_edges_and_flat_areas_as_photographs_do():
    """Their differences have heavy tails (Lee et al. 2001, figure 3); those of noise do not."""
    drawn = torch.cat([draw_leaves(number, 96) for number in range(4)])
    leaves, noise = (kurtosis(luminance(x).diff(dim=3)) for x in (drawn, pink_noise()))
    assert leaves > 6 > 2 * noise - 1


def test_its_spectrum_falls_like_that_of_photographs():
    """The power falls with about the square of the frequency."""
    drawn = luminance(torch.cat([draw_leaves(number, 96) for number in range(6)]))
    power = torch.fft.rfft2(drawn - drawn.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    along = power[0, 2:24].log()
    frequency = torch.arange(2, 24).log()
    slope = torch.linalg.lstsq(torch.stack([frequency, torch.ones(22)], 1), along[:, None])
    assert -3 < slope.solution[0].item() < -1
