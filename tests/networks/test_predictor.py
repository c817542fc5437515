"""What a predictor sees of a painting, and networks that have one."""

import pytest
import torch

from fst.config import FastConfig
from fst.losses.statistics import moments
from fst.networks.fast import Fast
from fst.networks.predictor import STATISTICS, StylePredictor, predictor_input
from fst.networks.styled import CODE_SIZE, StyledNetwork, stylize_with


def test_means_and_logarithms_of_deviations_are_seen():
    features = torch.randn(2, 3, 200, 200) * torch.tensor([1.0, 2.0, 0.5]).view(3, 1, 1) + 7
    seen = predictor_input({"a": moments(features), "b": moments(10 * features)})
    assert seen.shape == (2, 12)
    means, deviations, ten_means, ten_deviations = seen.split(3, dim=1)
    torch.testing.assert_close(means, features.mean((2, 3)))
    torch.testing.assert_close(deviations, features.std((2, 3)).log(), atol=1e-4, rtol=0)
    torch.testing.assert_close(ten_means, 10 * means)
    torch.testing.assert_close(
        ten_deviations, deviations + torch.tensor(10.0).log(), atol=1e-4, rtol=0
    )


def test_constant_features_are_no_infinities():
    assert predictor_input({"a": moments(torch.ones(1, 4, 8, 8))}).isfinite().all()


def test_codes_do_not_depend_on_the_scale_of_the_statistics():
    predictor = StylePredictor(CODE_SIZE)
    statistics = torch.randn(64, STATISTICS)
    predictor.standardise_by(statistics)
    codes = predictor(statistics)
    predictor.standardise_by(1000 * statistics + 5)
    torch.testing.assert_close(predictor(1000 * statistics + 5), codes, atol=1e-3, rtol=1e-3)


def test_an_odd_painting_is_not_taken_out_of_what_the_layers_know():
    predictor = StylePredictor(CODE_SIZE)
    predictor.standardise_by(torch.randn(64, STATISTICS))
    odd = torch.full((1, STATISTICS), 1e6)
    torch.testing.assert_close(predictor(odd), predictor(2 * odd))


@pytest.fixture
def styled_network() -> StyledNetwork:
    network = Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1, full_width=8))
    styled_network = StyledNetwork(network, 2, predicts=True)
    torch.nn.init.normal_(styled_network.mapper[-1].weight, std=0.3)
    return styled_network


def test_the_strength_is_an_input_of_the_mapper(styled_network: StyledNetwork):
    codes = styled_network.codes.detach()
    with torch.no_grad():
        weak, usual = (styled_network.map_codes(codes, torch.full((2,), s)) for s in (-1.0, 0.0))
        assert (weak - usual).abs().max() > 1e-3
        torch.testing.assert_close(styled_network.vectors(), usual + styled_network.residuals)
        image = torch.rand(1, 3, 32, 32)
        folded = styled_network.fold(torch.tensor([0.0, 1.0]), strength=-1.0)
        torch.testing.assert_close(
            folded(image), stylize_with(styled_network.network, weak[1:], image)
        )


def test_a_network_with_one_style_more_keeps_its_predictor(styled_network: StyledNetwork):
    statistics = torch.randn(1, STATISTICS)
    assert styled_network.predictor is not None
    code = styled_network.predictor(statistics)[0]
    more = styled_network.with_style(code, torch.zeros(styled_network.residuals.shape[1]))
    assert more.predictor is not None
    assert torch.equal(more.predictor(statistics)[0], more.codes[2])
    assert torch.equal(more.vectors()[:2], styled_network.vectors())
