"""The palette: the colours of a network's pictures, moved to the style's."""

import copy

import pytest
import torch
from torch import Tensor

from fst.losses.statistics import sliced_wasserstein
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.training.palette import fit_palette

NETWORKS = (lambda: Fast(width=8, coarse_width=8), lambda: Johnson(width=8, residual_blocks=1))


@pytest.fixture
def contents() -> Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def untrained(network: int) -> Fast | Johnson:
    torch.manual_seed(0)
    return NETWORKS[network]().eval().requires_grad_(False)


@pytest.mark.parametrize("network", [0, 1])
def test_the_matrix_that_made_the_style_is_found(network: int, contents: Tensor):
    """A style whose colours are the network's own, of another contrast and brightness."""
    trained = untrained(network)
    target = copy.deepcopy(trained)
    *_, last = (layer for layer in target.modules() if isinstance(layer, torch.nn.Conv2d))
    matrix = torch.tensor([[1.5, 0.2, 0.0], [0.2, 1.3, 0.1], [0.0, 0.1, 0.8]])
    last.weight.copy_(torch.einsum("ij,jchw->ichw", matrix, last.weight))
    last.bias.copy_(matrix @ last.bias + torch.tensor([0.2, 0.0, -0.3]))
    aim = target(contents)
    style = aim.transpose(0, 1).reshape(1, 3, 64, 64)

    def distance(pictures: Tensor) -> float:
        colours = pictures.transpose(0, 1).reshape(1, 3, 64, 64)
        return sliced_wasserstein(colours, style).item()

    fitted = [copy.deepcopy(trained) for _ in range(3)]
    for model, share in zip(fitted, (0.0, 0.5, 1.0), strict=True):
        fit_palette(model, contents, style, share)
    unchanged, half, whole = (model(contents) for model in fitted)
    assert torch.equal(unchanged, trained(contents))
    assert distance(whole) < 0.02 * distance(unchanged)
    assert distance(whole) < distance(half) < distance(unchanged)
    assert (whole - aim).abs().mean() < 0.2 * (unchanged - aim).abs().mean()


def test_only_the_last_convolution_changes(contents: Tensor):
    trained = untrained(0)
    fitted = copy.deepcopy(trained)
    fit_palette(fitted, contents, torch.rand(1, 3, 40, 50), 0.5)
    changed = {
        key
        for key, value in fitted.state_dict().items()
        if not torch.equal(value, trained.state_dict()[key])
    }
    *_, weight, bias = trained.state_dict()
    assert changed == {weight, bias}
