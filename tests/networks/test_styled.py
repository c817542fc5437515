"""Networks of several styles, against networks of one."""

import pytest
import torch

from fst.config import FastConfig, JohnsonConfig
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.plain import plain
from fst.networks.styled import StyledNetwork, in_style, norm_parameters, style_vector


@pytest.fixture(params=["fast", "johnson"])
def styled_network(request: pytest.FixtureRequest) -> StyledNetwork:
    """Three styles that are far apart."""
    torch.manual_seed(0)
    network = {
        "fast": lambda: Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1, full_width=8)),
        "johnson": lambda: Johnson(JohnsonConfig(width=4, residual_blocks=1)),
    }[request.param]()
    styled_network = StyledNetwork(network, 3)
    torch.nn.init.normal_(styled_network.residuals, std=0.5)
    return styled_network


def test_a_style_of_the_default_network_is_1672_numbers():
    assert len(style_vector(Fast(FastConfig()))) == 1672


def test_all_styles_start_near_the_network_s_own():
    network = Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1, full_width=8))
    vectors = StyledNetwork(network, 4).vectors()
    assert (vectors - style_vector(network)).abs().max() < 0.2
    assert not torch.equal(vectors[0], vectors[1])


def test_each_picture_is_in_its_own_style_as_the_folded_networks_are(styled_network: StyledNetwork):
    images, styles = torch.rand(4, 3, 32, 48), torch.tensor([2, 0, 0, 1])
    with torch.no_grad():
        together = styled_network(images, styles)
        for image, style, result in zip(images, styles.tolist(), together, strict=True):
            alone = in_style(styled_network, style)(image[None])[0]
            assert 10 * torch.log10(1 / (alone - result).square().mean()) > 100  # dB
            torch.testing.assert_close(styled_network(image[None], torch.tensor([style]))[0], alone)
            torch.testing.assert_close(
                plain(in_style(styled_network, style))(image[None])[0], alone
            )


def test_gradients_reach_what_the_styles_share_and_those_of_their_own_alone(
    styled_network: StyledNetwork,
):
    styled_network(torch.rand(2, 3, 32, 32), torch.tensor([2, 2])).square().sum().backward()
    shared = [
        p for name, p in styled_network.named_parameters() if name.startswith(("network", "mapper"))
    ]
    assert all(p.grad is not None for p in shared)
    assert styled_network.codes.grad is not None and styled_network.residuals.grad is not None
    for rows in (styled_network.codes.grad, styled_network.residuals.grad):
        assert rows[2].abs().sum() > 0
        assert (rows[:2] == 0).all()
    norms = norm_parameters(styled_network.network).values()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in norms)


def test_a_blend_is_the_mean_of_vectors(styled_network: StyledNetwork):
    blend = styled_network.fold(torch.tensor([1.0, 0.0, 3.0]))
    first, _, last = styled_network.vectors()
    torch.testing.assert_close(style_vector(blend), 0.25 * first + 0.75 * last)
    alone = styled_network.fold(torch.tensor([0, 7.0, 0]))
    assert torch.equal(style_vector(in_style(styled_network, 1)), style_vector(alone))


def test_a_blend_has_the_mean_of_the_palettes(styled_network: StyledNetwork):
    plain_colours = styled_network.fold(torch.tensor([1.0, 0.0, 3.0]))
    styled_network.palettes[0, 0, 1], styled_network.palettes[2, 2, 3] = 0.4, -0.8
    *_, output = plain_colours.modules()
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        z = output.inverse(plain_colours(image))
        z = torch.stack([z[:, 0] + 0.1 * z[:, 1], z[:, 1], z[:, 2] - 0.6], dim=1)
        result = styled_network.fold(torch.tensor([1.0, 0.0, 3.0]))(image)
    torch.testing.assert_close(result, output(z), rtol=0, atol=1e-4)
    only = styled_network.with_only(torch.tensor([2, 0])).with_style(
        styled_network.codes[1].detach()
    )
    expected = torch.stack(
        [styled_network.palettes[2], styled_network.palettes[0], torch.zeros(3, 4)]
    )
    assert torch.equal(only.palettes, expected)


def test_folding_leaves_the_network_as_it_is(styled_network: StyledNetwork):
    before = style_vector(styled_network.network).clone()
    in_style(styled_network, 1)
    assert torch.equal(style_vector(styled_network.network), before)
