"""The perceptual loss against closed forms, in double precision where gradients are compared."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.config import (
    GatysLossConfig,
    JohnsonLossConfig,
    LossConfig,
    MomentsLossConfig,
    RelativeLossConfig,
)
from fst.losses.objective import Objective, towards
from fst.losses.papers import JohnsonLoss
from fst.losses.registry import LOSSES
from fst.losses.relative import MomentsLoss, RelativeLoss
from fst.losses.statistics import gram_matrix, moments, squared_distance, standardise
from fst.losses.style_weight import ADAPTATION_PER_IMAGE, adapt, missing_content
from fst.losses.terms import SquaredVariation, TotalVariation
from fst.losses.vgg import VGG16, load_vgg16

LAYERS = ["relu1_2", "relu2_2", "relu3_3"]


@pytest.fixture(scope="module")
def vgg(random_vgg: Path) -> VGG16:
    return load_vgg16(random_vgg, "relu3_3", verify=False)


@pytest.fixture(scope="module")
def style() -> Tensor:
    return torch.rand(1, 3, 40, 32, generator=torch.Generator().manual_seed(1))


def build(vgg: VGG16, style: Tensor, **changes: object) -> Objective:
    config = RelativeLossConfig(**changes)  # type: ignore[arg-type]
    return towards(RelativeLoss(vgg, config), style)


def test_gram_matrix_of_a_case_worked_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # two channels, 1 x 2 pixels
    expected = torch.tensor([[[5.0, 11.0], [11.0, 25.0]]]) / 2
    assert torch.equal(gram_matrix(features), expected)


def test_gram_matrix_stays_in_fp32_where_half_precision_overflows():
    features = torch.full((1, 2, 64, 64), 300.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.bfloat16):
        gram = gram_matrix(features)
    assert gram.dtype == torch.float32
    assert torch.equal(gram, torch.full((1, 2, 2), 90000.0))


def test_gram_matrix_does_not_depend_on_where_things_are():
    features = torch.rand(1, 5, 6, 7, dtype=torch.float64)
    shuffled = features.flatten(2)[..., torch.randperm(42)].view_as(features)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(features))


def test_content_gradient_is_gatys_closed_form():
    # Gatys et al. 2016, eq. 1 and 2: L = 1/2 sum (F - P)^2, dL/dF = F - P where F > 0, else 0.
    before_relu = torch.randn(1, 6, 5, 4, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 6, 5, 4, dtype=torch.float64)
    features = before_relu.relu()
    (squared_distance(features, target).sum() / 2).backward()
    closed_form = torch.where(features > 0, features - target, 0)
    torch.testing.assert_close(before_relu.grad, closed_form.detach(), rtol=1e-12, atol=1e-12)


def test_style_gradient_is_gatys_closed_form():
    # Gatys et al. 2016, eq. 4 and 6, G not divided by anything: E = 1/(4 N^2 M^2) sum (G - A)^2,
    # dE/dF = 1/(N^2 M^2) (F^T (G - A))^T where F > 0, else 0; N channels, M pixels.
    n, m = 6, 20
    before_relu = torch.randn(1, n, 5, 4, dtype=torch.float64, requires_grad=True)
    target = gram_matrix(torch.rand(1, n, 3, 3, dtype=torch.float64))
    features = before_relu.relu()
    energy = squared_distance(gram_matrix(features) * m, target * m).sum() / (4 * n**2 * m**2)
    energy.backward()
    flat = features.detach().view(n, m)
    gram = flat @ flat.T
    closed_form = (flat.T @ (gram - target[0] * m)).T / (n**2 * m**2)
    closed_form = torch.where(flat > 0, closed_form, 0).view(1, n, 5, 4)
    torch.testing.assert_close(before_relu.grad, closed_form, rtol=1e-12, atol=1e-14)


def test_the_whole_loss_passes_its_gradient_to_the_picture(vgg: VGG16, style: Tensor):
    loss = build(vgg.double(), style.double())
    content = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    loss(picture, content)["total"].backward()
    direction = torch.randn(picture.shape, dtype=torch.float64)
    step = 1e-6
    ahead, behind = (loss(picture + s * direction, content)["total"] for s in (step, -step))
    numeric = (ahead - behind).item() / (2 * step)
    vgg.float()
    assert picture.grad is not None
    assert (picture.grad * direction).sum().item() == pytest.approx(numeric, rel=1e-5)


def test_the_content_itself_has_no_content_loss_and_the_style_no_style_loss(vgg, style):
    loss = build(vgg, style)
    content = torch.rand(2, 3, 32, 32)
    assert (loss(content, content)["content"] == 0).all()
    assert loss(style, style)["style"] == 0
    assert (loss(content, content)["style"] > 0.01).all()


def test_relative_terms_are_what_design_says(vgg: VGG16, style: Tensor):
    loss = build(vgg, style, style_levels=2, content_weight=2.0, style_weight=3.0, tv_weight=0.5)
    y, x = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    terms = loss(y, x)
    fy, fx = vgg(y, LAYERS), vgg(x, LAYERS)
    content = [
        ((fy["relu3_3"][i] - fx["relu3_3"][i]) ** 2).sum() / (fx["relu3_3"][i] ** 2).sum()
        for i in range(2)
    ]
    torch.testing.assert_close(terms["content"], torch.stack(content))
    style_terms = []
    for layer in LAYERS:
        here = []
        for level in (0, 1):
            half = (lambda z: F.avg_pool2d(z, 2)) if level else (lambda z: z)
            g = gram_matrix(vgg(half(y), [layer])[layer])
            a = gram_matrix(vgg(half(style), [layer])[layer])
            here.append(((g - a) ** 2).sum((1, 2)) / (a**2).sum())
        torch.testing.assert_close(terms[f"style/{layer}"], torch.stack(here).mean(0))
        style_terms.append(torch.stack(here).mean(0))
    torch.testing.assert_close(terms["style"], torch.stack(style_terms).mean(0))
    across, down = y[..., 1:] - y[..., :-1], y[..., 1:, :] - y[..., :-1, :]
    tv = across.abs().mean((1, 2, 3)) + down.abs().mean((1, 2, 3))
    torch.testing.assert_close(terms["total_variation"], tv)
    total = 2 * terms["content"] + 3 * terms["style"] + 0.5 * terms["total_variation"]
    torch.testing.assert_close(terms["total"], total)


def test_relative_terms_do_not_depend_on_the_scale_of_the_weights(random_vgg, style: Tensor):
    y, x = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    before = build(vgg, style)(y, x)
    first = vgg.convolutions["relu1_1"]
    first.weight.mul_(8), first.bias.mul_(8)
    for layer, convolution in vgg.convolutions.items():
        if layer != "relu1_1":
            convolution.bias.mul_(8)
    after = build(vgg, style)(y, x)
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)


@pytest.mark.parametrize("kind", LOSSES)
def test_each_picture_of_a_batch_has_its_own_terms_and_style(kind: str, vgg: VGG16, style: Tensor):
    # What makes two processes with half a batch each equal to one with the whole.
    config = {
        "moments": MomentsLossConfig(),
        "relative": RelativeLossConfig(),
        "johnson": JohnsonLossConfig(style_layers=LAYERS),
        "gatys": GatysLossConfig(style_layers=LAYERS, content_layer="relu3_3"),
    }
    other = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(2))
    alone = [towards(LOSSES[kind](vgg, config[kind]), picture) for picture in (style, other)]
    both = towards(LOSSES[kind](vgg, config[kind]), style, other)
    both.weights[1] *= 3
    alone[1].weights *= 3
    numbers = torch.tensor([0, 1, 1, 0])
    y, x = torch.rand(4, 3, 128, 128), torch.rand(4, 3, 128, 128)
    found = both(y, x, numbers)
    for i, number in enumerate(numbers):
        for name, value in alone[number](y[i : i + 1], x[i : i + 1]).items():
            torch.testing.assert_close(found[name][i : i + 1], value)


def test_layer_weights_are_taken_relative_to_their_mean(vgg: VGG16, style: Tensor):
    y, x = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    even = build(vgg, style)(y, x)
    tenfold = build(vgg, style, style_layer_weights=[10.0, 10.0, 10.0])(y, x)
    torch.testing.assert_close(tenfold["style"], even["style"])
    first = build(vgg, style, style_layer_weights=[1.0, 0.0, 0.0])(y, x)
    torch.testing.assert_close(first["style"], even["style/relu1_2"])


def test_johnson_terms_are_those_of_the_paper_s_code(vgg: VGG16, style: Tensor):
    config = JohnsonLossConfig(style_layers=LAYERS)
    y, x = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    terms = towards(JohnsonLoss(vgg, config), style)(y, x)
    fy, fx, fs = vgg(y, LAYERS), vgg(x, LAYERS), vgg(style, LAYERS)
    torch.testing.assert_close(terms["content"].mean(), F.mse_loss(fy["relu3_3"], fx["relu3_3"]))
    style_sum = torch.zeros(())
    for layer in LAYERS:
        c, h, w = fy[layer].shape[1:]
        hs, ws = fs[layer].shape[2:]
        g = fy[layer].flatten(2) @ fy[layer].flatten(2).mT / (c * h * w)
        a = fs[layer].flatten(2) @ fs[layer].flatten(2).mT / (c * hs * ws)
        style_sum += F.mse_loss(g, a.expand_as(g))
    torch.testing.assert_close(terms["style"].mean(), style_sum)


def test_johnson_s_total_variation_has_the_gradient_of_their_code():
    # fast_neural_style/TotalVariation.lua: each difference is added at one pixel and taken from
    # its neighbour; checked where the borders, which they leave out on one side, do not matter.
    y = torch.rand(1, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    SquaredVariation(1.0)(y, torch.empty(0)).backward()
    z = 255 * y.detach()[0, 0]
    by_hand = 4 * z[4, 4] - z[3, 4] - z[5, 4] - z[4, 3] - z[4, 5]
    assert y.grad is not None
    assert y.grad[0, 0, 4, 4].item() / 255 == pytest.approx(by_hand.item(), rel=1e-4)


def test_total_variation_of_a_ramp():
    ramp = torch.arange(5.0).mul(0.1).expand(1, 3, 4, 5)
    assert TotalVariation(1.0)(ramp, torch.empty(0)).item() == pytest.approx(0.1)


def test_impossible_loss_settings_are_refused_by_name():
    for wrong, message in [
        ({"style_layers": ["relu9_9"]}, "loss.style_layers=relu9_9 is unknown"),
        ({"style_layers": []}, "loss.style_layers is empty"),
        ({"style_layers": ["relu1_2", "relu1_2"]}, "names a layer twice"),
        ({"content_layer": "conv3_3"}, "loss.content_layer=conv3_3 is unknown"),
        ({"style_weight": -1.0}, "loss.style_weight=-1.0 must be at least 0"),
        ({"tv_weight": float("nan")}, "loss.tv_weight=nan"),
        ({"style_levels": 0}, "loss.style_levels=0"),
        ({"style_layer_weights": [1.0]}, "one number"),
    ]:
        with pytest.raises(ValueError, match=message):
            RelativeLossConfig(**wrong)
    assert isinstance(JohnsonLossConfig(), LossConfig)


def test_moments_of_a_case_worked_manually():
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 8.0]]]])  # two channels, 1 x 2 pixels
    expected = torch.tensor([[[1.0, 3.0, 2.0], [3.0, 9.0, 5.0]]])
    assert torch.equal(moments(features), expected)


def test_moments_have_the_gradient_that_autograd_finds():
    features = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(moments, features)


def test_moments_do_not_depend_on_memory_format_and_add_up_to_the_gram_matrix():
    features = torch.rand(2, 6, 5, 7, dtype=torch.float64)
    found = moments(features)
    again = moments(features.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(again, found)
    covariance, mean = found[..., :-1], found[..., -1:]
    torch.testing.assert_close(covariance + mean @ mean.mT, gram_matrix(features))


def test_standardised_features_forget_scale_and_offset():
    features = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(standardise(5 * features + 2, 0.0), standardise(features, 0.0))


def test_structure_ignores_contrast_and_sees_edges(vgg: VGG16, style: Tensor):
    loss = towards(MomentsLoss(vgg, MomentsLossConfig(style_levels=1)), style)
    relative = towards(RelativeLoss(vgg, RelativeLossConfig(style_levels=1)), style)
    photo = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    pale = 0.5 + 0.6 * (photo - 0.5)
    assert loss(pale, photo)["content"] < relative(pale, photo)["content"]
    other = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(4))
    assert loss(other, photo)["content"] > 5 * loss(pale, photo)["content"]


def test_style_of_itself_is_perfect(vgg: VGG16, style: Tensor):
    loss = towards(MomentsLoss(vgg, MomentsLossConfig(style_levels=2)), style)
    assert loss(style, style)["style"] < 1e-9


@pytest.mark.parametrize("blank", [0.0, 0.5, 1.0])
def test_blank_pictures_ask_for_nothing_and_break_nothing(blank, random_vgg, style: Tensor):
    """A photograph without structure has no content term, a style without texture no covariance."""
    plain = torch.full((1, 3, 64, 64), blank)
    busy = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False, padding="reflect")
    for of_style, photo in ((style, plain), (plain, busy), (plain, plain)):
        stylized = torch.rand(1, 3, 64, 64).requires_grad_()
        loss = towards(MomentsLoss(vgg, MomentsLossConfig(style_levels=1)), of_style)
        terms = loss(stylized, photo)
        assert (terms["content"].item() == 0) == (photo is plain)
        assert terms["total"] < 1e6
        terms["total"].sum().backward()
        assert stylized.grad is not None and stylized.grad.isfinite().all()


class Pointwise(torch.nn.Module):
    """Features that know one pixel each, so that a picture and its parts have the same ones."""

    def forward(self, image: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        return {layer: torch.cat([image, image.square()], 1) for layer in layers}

    def in_vgg16_channels(self, features: Tensor, layer: str) -> Tensor:
        return features


def test_style_in_tiles_must_be_everywhere():
    style = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    everywhere = style.repeat(1, 1, 2, 2)
    order = torch.argsort(everywhere.sum(1).flatten())
    somewhere = everywhere.flatten(2)[..., order].view_as(everywhere)  # from dark to bright
    config = MomentsLossConfig(style_layers=["relu1_2"], content_layer="relu1_2", style_levels=1)
    whole, tiled = (
        towards(MomentsLoss(Pointwise(), replace(config, style_tiles=tiles)), style)
        for tiles in (1, 2)
    )
    assert whole(everywhere, everywhere)["style"] < 1e-9
    assert whole(somewhere, everywhere)["style"] < 1e-9
    assert tiled(everywhere, everywhere)["style"] < 1e-9
    assert tiled(somewhere, everywhere)["style"] > 0.05  # half of what the tiles alone give


@pytest.mark.parametrize("loss_of", [RelativeLoss, MomentsLoss])
def test_the_whole_s_statistic_is_joined_from_those_of_its_tiles(loss_of, vgg):
    loss = loss_of(vgg, MomentsLossConfig())
    features = torch.rand(2, 5, 8, 12, dtype=torch.double) + torch.rand(1, 5, 8, 12)
    tiles = [half for row in features.chunk(2, 2) for half in row.chunk(2, 3)]
    parts = torch.stack([loss.style_statistic(tile) for tile in tiles], 1)
    whole = loss.style_statistic(features)
    torch.testing.assert_close(loss.join_style_statistics(parts), whole, rtol=1e-12, atol=1e-12)


def test_tiles_have_64_pixels_at_least(vgg: VGG16, style: Tensor):
    picture = torch.rand(1, 3, 127, 200, generator=torch.Generator().manual_seed(6))
    terms = [
        towards(MomentsLoss(vgg, MomentsLossConfig(style_tiles=tiles)), style)(picture, picture)
        for tiles in (1, 2)
    ]
    assert terms[0]["style"] == terms[1]["style"]


def test_style_weight_moves_towards_the_content_target():
    config = MomentsLossConfig(style_weight=10)
    assert config.content_target == 1.0
    weights = torch.tensor([10.0, 10.0])
    distances, styles = torch.tensor([0.4, 0.6, 2.0]), torch.tensor([0, 0, 1])
    adapt(weights, config, missing_content(config, distances, styles, 2))
    expected = 10 * torch.exp(ADAPTATION_PER_IMAGE * torch.tensor([0.6 + 0.4, -1.0]))
    torch.testing.assert_close(weights, expected)  # too much of the photograph; too little
    adapt(weights, config, torch.tensor([-1e6, 1e6]))
    assert weights.tolist() == [1, 100]  # within a factor of ten of the configuration's


def test_without_a_content_target_the_style_weight_stays():
    config = RelativeLossConfig()
    weights = torch.tensor([config.style_weight])
    adapt(weights, config, missing_content(config, torch.tensor([0.1]), torch.tensor([0]), 1))
    assert weights == config.style_weight
