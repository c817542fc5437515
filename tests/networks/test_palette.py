"""The palette: the colours of a network's pictures, moved to those of a painting."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.config import FastConfig, JohnsonConfig
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.palette import (
    DARKEST,
    LIGHTEST,
    MAX_CONTRAST,
    apply_palette,
    colours_of,
    fit_palette,
    pink_noise,
)
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import resize

NETWORKS = {
    "tanh": lambda: Fast(FastConfig(width=8, coarse_width=8)),
    "clamp": lambda: Johnson(JohnsonConfig(width=8, residual_blocks=1, output="clamp")),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> TransformerNetwork:
    """A network whose colours are well within what can be shown."""
    torch.manual_seed(0)
    network = NETWORKS[request.param]().eval().requires_grad_(False)
    *_, last = (layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    last.weight *= 0.2
    last.bias += 0.5 * (request.param == "clamp")
    return network


def smooth_pictures(seed: int) -> Tensor:
    small = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return resize(small, 64)


def colours(pictures: Tensor) -> tuple[Tensor, Tensor]:
    pixels = pictures.transpose(0, 1).flatten(1)
    return pixels.mean(1), torch.cov(pixels)


def fit(network: TransformerNetwork, painting: Tensor, share: float) -> Tensor:
    return fit_palette(network, colours_of(network, painting), share)


def distance(pictures: Tensor, painting: Tensor) -> float:
    """Return how far mean and covariance are apart."""
    pairs = zip(colours(pictures), colours(painting), strict=True)
    return sum((a - b).square().sum().item() for a, b in pairs)


def test_colours_become_those_of_a_painting_by_the_share(network: TransformerNetwork):
    """On pictures that the palette was not fitted to: what differs is the noise's own colours."""
    contents = smooth_pictures(1)
    before = network(contents)
    painting = (0.4 + 0.12 * torch.randn(1, 3, 200, 200)).clamp(DARKEST, LIGHTEST)
    painting[:, 2] = 0.7 * painting[:, 1] + 0.1
    distances = []
    for share in (0.0, 0.5, 1.0):
        fitted = copy.deepcopy(network)
        apply_palette(fitted, fit(fitted, painting, share))
        distances.append(distance(fitted(contents), painting))
    assert distances[0] == distance(before, painting)
    assert distances[0] > distances[1] > distances[2]
    assert distances[2] < 0.2 * distances[0]


def test_the_palette_of_a_network_s_own_pictures_changes_nothing(network: TransformerNetwork):
    own = torch.cat([network(each[None]) for each in pink_noise()])
    as_one = own.transpose(0, 1).reshape(1, 3, 192, 192)
    assert fit(network, as_one, 1.0).abs().max() < 1e-3


def test_the_matrix_is_symmetric_and_never_turns_colours_round(network: TransformerNetwork):
    painting = smooth_pictures(2)[:1]
    matrix = fit(network, painting, 1.0)[:, :3] + torch.eye(3)
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


def test_contrast_changes_threefold_at_most(network: TransformerNetwork):
    *_, last = (layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    last.weight *= 0.1
    painting = torch.eye(3).repeat(1, 20)[None, :, None]  # pure red, green and blue
    matrix = fit(network, painting, 1.0)[:, :3] + torch.eye(3)
    assert torch.linalg.eigvalsh(matrix).max() == pytest.approx(MAX_CONTRAST, rel=1e-4)
    last.weight *= 1000
    matrix = fit_palette(network, colours_of(network, torch.full((1, 3, 8, 8), 0.5)), 1.0)[
        :, :3
    ] + torch.eye(3)
    assert torch.linalg.eigvalsh(matrix).min() == pytest.approx(1 / MAX_CONTRAST, rel=1e-4)


def test_the_grain_of_a_large_scan_is_not_the_painting_s(network: TransformerNetwork):
    small = smooth_pictures(4)[:1, :, :56, :56]
    large = F.interpolate(small, scale_factor=16, mode="nearest")
    grain = 0.1 * torch.randn(large.shape, generator=torch.Generator().manual_seed(1))
    clean, scan = (fit(network, x, 1.0) for x in (large, (large + grain).clamp(0, 1)))
    assert (clean - scan).abs().max() < 0.05


def test_a_network_that_overflows_has_no_palette(network: TransformerNetwork):
    *_, last = (layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    last.weight.fill_(torch.nan)
    assert torch.equal(fit(network, torch.rand(1, 3, 8, 8), 1.0), torch.zeros(3, 4))


@pytest.mark.parametrize("painting", [torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)])
def test_a_blank_painting_gives_a_finite_palette(network: TransformerNetwork, painting: Tensor):
    assert fit(network, painting, 1.0).isfinite().all()


def test_a_palette_acts_before_the_nonlinearity(network: TransformerNetwork):
    """Against the change computed from the pictures themselves."""
    *_, output = network.modules()
    palette = torch.tensor([[0.5, 0.2, 0.0, 0.2], [0.2, 0.3, 0.1, 0.0], [0.0, 0.1, -0.2, -0.3]])
    before = network(smooth_pictures(3))
    apply_palette(network, palette)
    z = output.inverse(before)
    expected = z + torch.einsum("ij,njhw->nihw", palette[:, :3], z) + palette[:, 3, None, None]
    torch.testing.assert_close(network(smooth_pictures(3)), output(expected), rtol=0, atol=2e-4)


def test_only_the_last_convolution_changes(network: TransformerNetwork):
    fitted = copy.deepcopy(network)
    apply_palette(fitted, fit(fitted, torch.rand(1, 3, 40, 50), 0.5))
    changed = {
        key
        for key, value in fitted.state_dict().items()
        if not torch.equal(value, network.state_dict()[key])
    }
    *_, weight, bias = network.state_dict()
    assert changed == {weight, bias}


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 500)])
def test_a_painting_of_one_colour_may_have_any_size(network: TransformerNetwork, size):
    colour = torch.tensor([0.2, 0.5, 0.7])[:, None, None]
    palette = fit(network, colour.expand(1, 3, *size), 1.0)
    torch.testing.assert_close(palette, fit(network, colour.expand(1, 3, 64, 64), 1.0))
    apply_palette(network, palette)
    shown = network(pink_noise()).mean((0, 2, 3))
    assert (shown - colour.flatten()).abs().max() < 0.05


def test_differences_between_paintings_are_no_contrast(network: TransformerNetwork):
    """Two plain paintings together: no picture of either has the contrast between them."""
    dark, light = (torch.full((1, 3, 8, 8), value) for value in (0.3, 0.6))
    pooled = torch.stack([colours_of(network, each) for each in (dark, light)]).mean(0)
    both = colours_of(network, torch.cat([dark, light], dim=3))
    plain = colours_of(network, dark)
    torch.testing.assert_close(pooled[:, :3], plain[:, :3])
    torch.testing.assert_close(pooled[:, 3], both[:, 3])
    assert both[0, 0] > 10 * pooled[0, 0]
