"""The temporal term: exact motion, zero for what moves with the picture, the same when resumed."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.config import FastConfig
from fst.config.loss import TEMPORAL_PX
from fst.losses import temporal
from fst.losses.temporal import (
    FLOW_PX,
    MARGIN_PX,
    NOISE,
    SHIFT_PX,
    SecondView,
    random_motion,
    record,
    temporal_term,
    with_object,
)
from fst.networks.fast import Fast

SIZE = (80, 72)


def brighter(image: Tensor) -> Tensor:
    """A stylization of each pixel by itself: it is equivariant to shifts."""
    return image.sqrt()


def mosaic(image: Tensor) -> Tensor:
    """A stylization with a grid of 4 px, which stays on the screen."""
    return F.interpolate(F.avg_pool2d(image, 4), image.shape[-2:])


@pytest.fixture
def only_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    for change in ("FLOW_PX", "NOISE", "EXPOSURE", "OBJECT"):
        monkeypatch.setattr(temporal, change, 0.0)


def term(stylize: Callable[[Tensor], Tensor], pictures: Tensor, position: int = 0) -> float:
    return float(temporal_term(stylize, pictures, stylize(pictures), 5, position))


@pytest.mark.usefixtures("only_shifts")
def test_a_shift_costs_nothing_if_the_stylization_moves_with_the_picture():
    pictures = torch.rand(3, 3, *SIZE)
    assert term(brighter, pictures) == 0
    assert term(mosaic, pictures) > 0.05


@pytest.mark.usefixtures("only_shifts")
def test_the_term_is_the_mean_absolute_difference():
    pictures = torch.rand(2, 3, *SIZE)
    answer = temporal_term(lambda view: view + 0.25, pictures, pictures, 0, 0)
    assert answer == pytest.approx(0.25)


def test_a_warp_by_a_constant_flow_is_a_shift():
    image = torch.rand(3, *SIZE)
    height, width = (px - MARGIN_PX for px in SIZE)
    flow = torch.tensor([2.0, -1.0])[:, None, None].expand(2, height, width)
    shifted = SecondView(5, 6)(image)
    assert torch.equal(shifted, image[:, 5 : 5 + height, 6 : 6 + width])
    torch.testing.assert_close(SecondView(3, 7, flow)(image), shifted, atol=1e-5, rtol=0)


def test_a_second_view_shows_what_its_motion_says_and_nothing_from_outside():
    rows, columns = torch.meshgrid(*map(torch.arange, SIZE), indexing="ij")
    places = torch.stack([rows, columns]).float()
    slack = (MARGIN_PX - SHIFT_PX) // 2
    shifts = set()
    for seed in range(100):
        motion = random_motion(np.random.default_rng(seed), places)
        assert motion.flow is not None
        sources = SecondView(motion.top, motion.left)(places) + motion.flow
        # torch's bicubic interpolation bends ramps a little, and more so where they end
        torch.testing.assert_close(motion(places), sources, atol=0.3, rtol=0)
        inside = (slice(None), slice(4, -4), slice(4, -4))
        torch.testing.assert_close(motion(places)[inside], sources[inside], atol=0.06, rtol=0)
        assert sources.amin() >= 0
        assert (sources.amax((1, 2)) <= torch.tensor(SIZE) - 1).all()
        assert 0.5 < motion.flow.abs().max() <= FLOW_PX
        assert motion.flow.diff(dim=2).abs().max() < 0.4  # smooth
        shifts |= {motion.top - slack, motion.left - slack}
    assert shifts == set(range(SHIFT_PX + 1))


def test_an_object_covers_a_part_of_the_picture_and_the_background_is_the_rest():
    image = torch.rand(3, *SIZE)
    for seed in range(50):
        covered, background = with_object(image, np.random.default_rng(seed))
        changed = (covered != image).any(0)
        assert changed.any()
        assert not (changed & background.bool()).any()
        assert 0.1 < background.mean() < 1


def test_only_the_background_of_an_object_is_compared(monkeypatch: pytest.MonkeyPatch):
    for change in ("FLOW_PX", "NOISE", "EXPOSURE"):
        monkeypatch.setattr(temporal, change, 0.0)
    assert term(brighter, torch.rand(2, 3, *SIZE)) == 0


def test_a_second_record_differs_by_exposure_and_noise():
    grey = torch.full((3, *SIZE), 0.5)
    records = [record(grey, np.random.default_rng(seed)) for seed in range(50)]
    gains = torch.stack([view.mean() / 0.5 for view in records])
    assert gains.min() < 0.93 < 1.07 < gains.max()
    deviations = torch.stack([view.std() for view in records])
    assert deviations.min() < 0.1 * NOISE
    assert 0.9 * NOISE < deviations.max() < 1.05 * NOISE
    white = record(torch.ones(3, *SIZE), np.random.default_rng(0))
    assert white.max() <= 1


def test_second_views_depend_on_seed_and_position_alone():
    pictures = torch.rand(3, 3, *SIZE)
    apart = [term(mosaic, picture[None], position) for position, picture in enumerate(pictures)]
    assert term(mosaic, pictures) == pytest.approx(sum(apart) / 3)
    assert term(mosaic, pictures[1:], 1) == pytest.approx(sum(apart[1:]) / 2)
    assert term(mosaic, pictures[:1], 1) != apart[0]
    stylized = mosaic(pictures)
    other_seed = temporal_term(mosaic, pictures, stylized, 6, 0)
    assert other_seed != temporal_term(mosaic, pictures, stylized, 5, 0)


def test_the_gradient_reaches_the_network_from_both_views():
    network = Fast(FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1))
    picture = torch.rand(1, 3, *SIZE)
    stylized = network(picture).detach().requires_grad_()
    temporal_term(network, picture, stylized, 0, 0).backward()
    assert stylized.grad is not None
    assert stylized.grad.abs().sum() > 0
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name


def test_the_smallest_view_keeps_some_background():
    image = torch.rand(3, TEMPORAL_PX - MARGIN_PX, TEMPORAL_PX - MARGIN_PX)
    for seed in range(200):
        _, background = with_object(image, np.random.default_rng(seed))
        assert 0 < background.sum() < background.numel()
