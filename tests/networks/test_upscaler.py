"""Super-resolution networks: their parts, how far they see, and whose colours they keep."""

import pytest
import torch
import torch.nn.functional as F

from fst.config import FastUpscalerConfig, JohnsonUpscalerConfig
from fst.errors import UserError
from fst.networks.downscale import Downscale
from fst.networks.registry import UPSCALERS, build_upscaler
from fst.networks.upscaler import FastUpscaler, JohnsonUpscaler, Upscaler


def randomise(network: Upscaler) -> Upscaler:
    """The network with weights that do something: new ones repeat the pixels."""
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_downscaling_is_torch_s_antialiased_bicubic_up_to_the_border(factor: int):
    image = torch.rand(2, 3, 7 * factor, 5 * factor)
    expected = F.interpolate(image, (7, 5), mode="bicubic", antialias=True)
    torch.testing.assert_close(Downscale(factor)(image), expected, rtol=0, atol=1e-6)


def test_the_paper_s_degradation_blurs_first():
    image = torch.rand(1, 3, 96, 96)
    along = torch.arange(-4, 5).square().mul(-0.5).exp()
    window = torch.outer(along, along)[None, None].expand(3, 1, 9, 9) / along.sum() ** 2
    blurred = F.conv2d(F.pad(image, [4] * 4, mode="reflect"), window, groups=3)
    expected = F.interpolate(blurred, (24, 24), mode="bicubic", antialias=True)
    found = Downscale(4, "johnson")(image)
    inner = (..., slice(4, -4), slice(4, -4))  # borders are treated in another way
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", UPSCALERS)
def test_how_small_pictures_are_made_belongs_to_every_network(name: str):
    image = torch.rand(1, 3, 16, 16)
    for degradation in ("bicubic", "johnson"):
        network = build_upscaler(name, {"width": 4, "degradation": degradation})
        assert torch.equal(network.downscale(image), Downscale(4, degradation)(image))
    with pytest.raises(UserError, match="network.degradation=none is unknown"):
        build_upscaler(name, {"degradation": "none"})


def test_a_new_network_repeats_pixels_and_keeps_a_flat_picture():
    network = FastUpscaler(FastUpscalerConfig(factor=4, width=8, layers=1)).eval()
    flat = torch.tensor([0.2, 0.5, 0.9])[None, :, None, None].expand(1, 3, 6, 5)
    expected = flat[..., :1, :1].expand(1, 3, 24, 20)
    torch.testing.assert_close(network(flat), expected, rtol=0, atol=1e-6)


def test_back_projection_keeps_the_colours_of_the_picture():
    network = randomise(
        FastUpscaler(FastUpscalerConfig(factor=4, width=8, layers=2))
    ).train()  # not cut to [0, 1]
    network.head.bias += 0.2  # it would make everything lighter
    image = torch.rand(1, 3, 40, 40)
    result = network(image)
    found = Downscale(4)(result).mean((2, 3))
    torch.testing.assert_close(found, image.mean((2, 3)), rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    "network",
    [
        FastUpscaler(FastUpscalerConfig(factor=3, width=8, layers=2)),
        FastUpscaler(FastUpscalerConfig(factor=4, width=8, layers=1, degradation="johnson")),
        JohnsonUpscaler(JohnsonUpscalerConfig(factor=4, width=4, residual_blocks=1)),
    ],
    ids=["x3", "x4 without layers", "johnson"],
)
def test_nothing_farther_away_than_the_margin_is_seen(network: Upscaler):
    network = randomise(network).double()
    side = 2 * network.margin_px + 9
    image = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    middle, factor = side // 2, network.factor
    block = slice(middle * factor, (middle + 1) * factor)
    network.train(isinstance(network, FastUpscaler))  # uncut; batch norm must not see the batch
    network(image)[..., block, block].sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    rows = seen.any(1).nonzero()[:, 0]
    assert seen[middle, middle]
    assert rows.min() >= middle - network.margin_px
    assert rows.max() <= middle + network.margin_px


def test_results_are_cut_to_the_range_of_pictures_only_in_use():
    network = randomise(FastUpscaler(FastUpscalerConfig(factor=2, width=8, layers=1)))
    network.head.bias += torch.randn_like(network.head.bias)
    image = torch.rand(1, 3, 8, 8)
    inside = network(image)
    assert inside.min() == 0
    assert inside.max() == 1
    outside = network.train()(image)
    assert outside.min() < 0
    torch.testing.assert_close(outside.clamp(0, 1), inside)
