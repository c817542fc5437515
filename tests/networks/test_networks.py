"""The transformer networks."""

import copy
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fst import config
from fst.config import FastConfig, JohnsonConfig
from fst.losses.perceptual import PerceptualLoss
from fst.models.exported import ExportedNetwork
from fst.models.model_file import read_model
from fst.models.released import released_path
from fst.networks.cost import count_flops
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.networks.layers import InstanceNorm, UpsampleLinear, UpsampleNearest
from fst.networks.plain import plain
from fst.networks.registry import NETWORKS, build_network, build_upscaler, network_name
from fst.networks.styled import norm_parameters
from fst.networks.transformer import TransformerNetwork

torch.manual_seed(0)
VARIANTS = {
    "johnson": Johnson(JohnsonConfig(width=4, residual_blocks=1)),
    "paper": Johnson(
        JohnsonConfig(width=4, residual_blocks=1, norm="batch", upsample="transposed")
    ),
    "fast": Fast(
        FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1, full_width=4)
    ),
    "without coarse": Fast(FastConfig(width=8, residual_blocks=1, coarse_blocks=0)),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (5, 3), (12, 12), (65, 67), (33, 64)])
def test_any_size_is_kept_and_the_range_is_0_to_1(name: str, size: tuple[int, int]):
    result = VARIANTS[name].eval()(torch.rand(2, 3, *size))
    assert result.shape == (2, 3, *size)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_computed_otherwise_than_written_gives_the_same_values_and_gradients(name: str):
    network = copy.deepcopy(VARIANTS[name]).eval().double()
    images = [torch.rand(2, 3, 45, 30, dtype=torch.double).requires_grad_() for _ in range(2)]
    images[1].data = images[0].data
    results = [each(image) for each, image in zip((network, plain(network)), images, strict=True)]
    for result in results:
        (result**2).sum().backward()
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    torch.testing.assert_close(images[0].grad, images[1].grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_plain_network_is_of_torch_s_own_modules(name: str):
    network = plain(VARIANTS[name])
    leaves = [module for module in network.modules() if not list(module.children())]
    own = {"ScaledTanh", "Clamp"}
    assert {type(leaf).__name__ for leaf in leaves if "torch" not in type(leaf).__module__} <= own
    assert network.state_dict().keys() == VARIANTS[name].state_dict().keys()


@pytest.mark.parametrize("name", VARIANTS)
def test_pictures_of_a_batch_do_not_mix(name: str):
    network = VARIANTS[name].eval()
    images = torch.rand(3, 3, 32, 24)
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["fast", "johnson"])
def test_every_parameter_learns(name: str):
    network = copy.deepcopy(VARIANTS[name])
    network(torch.rand(1, 3, 32, 32)).square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        if not key.endswith("bias"):  # a bias before an instance norm has no effect
            assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NETWORKS)
def test_black_and_constant_frames_give_sane_output(name: str):
    torch.manual_seed(0)
    network = build_network(name, {}).eval()
    for value in (0.0, 0.5, 1.0):
        result = network(torch.full((1, 3, 64, 64), value))
        assert result.flatten(2).std(-1).max() < 0.01  # instance norm must not blow up rounding


def test_instance_norm_keeps_its_statistics_in_fp32_under_half_precision():
    x = torch.randn(1, 4, 64, 64) * 3 + 100  # in bf16 the mean alone would be off by up to 0.5
    norm = InstanceNorm(4)
    expected = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True, unbiased=False)
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    rounding = (x.bfloat16().float() - x).abs().max() / 3
    assert (norm(x.bfloat16()).float() - expected).abs().max() < 2 * rounding


@pytest.mark.parametrize("model", ["udnie", "the_scream"])
def test_a_flat_picture_is_calm_and_the_same_in_every_dtype_and_batch(model: str):
    network = read_model(released_path(model)).network
    network.eval().to(memory_format=torch.channels_last)
    results = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        network.to(dtype)
        for colour in ([0.0, 0, 0], [1, 1, 1], [0.3, 0.5, 0.8]):
            flat = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 64, 68)
            both = torch.cat([flat, torch.rand(1, 3, 64, 68)])
            with torch.no_grad():
                results += [network(flat.to(dtype)), network(both.to(dtype))[:1]]
    levels = 255 * torch.cat([result.float() for result in results])
    assert (levels.amax((2, 3)) - levels.amin((2, 3))).max() < 1
    assert (levels - levels[:1]).abs().max() < 2


@pytest.mark.parametrize("name", ["fast", "without coarse", "johnson"])
@pytest.mark.parametrize("pictures", [1, 2])
def test_a_flat_picture_gives_a_bounded_gradient_also_beside_others(name: str, pictures: int):
    network = copy.deepcopy(VARIANTS[name])
    for bias in (value for key, value in norm_parameters(network).items() if "bias" in key):
        nn.init.normal_(bias)  # as they are once trained
    photo, seen = torch.rand(1, 3, 64, 64), torch.rand(pictures, 3, 64, 64)

    def gradients(image: torch.Tensor) -> list[torch.Tensor]:
        loss = (network(image) * seen[: len(image)]).sum(0).mean()
        return list(torch.autograd.grad(loss, [*network.parameters()], materialize_grads=True))

    ordinary = nn.utils.get_total_norm(gradients(photo))
    for value in (0.0, 0.5, 1.0):
        flat = torch.full((1, 3, 64, 64), value)
        found = gradients(torch.cat([flat, photo][:pictures]))
        assert nn.utils.get_total_norm(found) < 10 * ordinary


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_flat_channels_are_normalised_otherwise_than_by_torch(pictures: int, dtype):
    x = torch.rand(pictures, 4, 32, 32).to(memory_format=torch.channels_last)
    x[0, 1] = 0.5
    x[0, 1, 5, 5] = 0.501  # a variance of 1e-9
    norm = InstanceNorm(4)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    result, expected = norm(x.to(dtype)).float(), plain(nn.Sequential(norm))(x)
    assert (result[0, 1] == norm.bias[1].to(dtype)).all()
    result[0, 1] = expected[0, 1]
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(result, expected, rtol=0, atol=tolerance)


def test_a_large_constant_channel_becomes_its_shift_however_far_from_zero():
    x = torch.full((1, 2, 512, 512), 67.7).to(memory_format=torch.channels_last)
    x[0, 1, 301, 77] = 0  # not constant, although one pixel alone says so
    norm = InstanceNorm(2)
    nn.init.constant_(norm.bias, 0.5)
    result = norm(x)
    assert (result[0, 0] == 0.5).all()
    assert result[0, 1, 301, 77] < -100


def test_a_compiled_norm_gives_and_learns_what_an_eager_one_does_on_flat_channels_as_well():
    norm, x = InstanceNorm(4), torch.rand(2, 4, 8, 8)
    x[0, 1] = 0.5
    x.requires_grad_()
    results = []
    for layer in (norm, torch.compile(norm, backend="aot_eager")):
        result = layer(x)
        results.append((result, *torch.autograd.grad(result.sin().sum(), [x, *layer.parameters()])))
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)
    assert (results[1][1][0, 1] == 0).all()


def test_flops_of_johnson_agree_with_a_count_by_hand():
    # multiply-adds a pixel of each convolution, from the paper's table: 9x9, /2, /4, 10 at 1/4 ...
    by_hand = (
        81 * 3 * 32
        + (9 * 32 * 64) / 4
        + (9 * 64 * 128) / 16
        + 10 * (9 * 128 * 128) / 16
        + (9 * 128 * 64) / 4
        + 9 * 64 * 32
        + 81 * 32 * 3
    )
    assert count_flops(Johnson(JohnsonConfig()), 64, 128) == 2 * by_hand * 64 * 128


@pytest.mark.parametrize("name", VARIANTS)
def test_units_one_after_the_other_give_what_the_body_gives(name: str):
    network = copy.deepcopy(VARIANTS[name]).eval().double()
    image = torch.rand(1, 3, 48, 32, dtype=torch.double)
    step = image
    for unit in network.units():
        step = unit(step)
    torch.testing.assert_close(step, network.body(image), rtol=0, atol=1e-12)


def test_what_a_network_is_built_with_are_its_settings():
    for name, settings in config.NETWORKS.items():
        network = build_network(name, {"width": 8})
        assert network.settings == settings(width=8)
        assert network.arguments == {**settings().arguments(), "width": 8}
        assert type(network) is NETWORKS[name]
        assert network_name(network) == name


def test_settings_of_before_load_where_they_say_what_networks_still_are():
    network = build_network("fast", {"width": 8, "upsample": "linear", "border": "pixels"})
    assert network.arguments == FastConfig(width=8).arguments()
    for retired in ({"upsample": "nearest"}, {"border": "patches"}):
        with pytest.raises(ValueError, match="of an older 'fast' network, .*: train it again"):
            build_network("fast", retired)
    paper = build_network("johnson", {"width": 4, "upsample": "transposed"})  # has it still
    assert paper.arguments["upsample"] == "transposed"


def test_settings_out_of_range_are_refused_wherever_they_come_from():
    with pytest.raises(ValueError, match="network.width=4 must be at least 8"):
        build_network("fast", {"width": 4})
    with pytest.raises(ValueError, match="network.norm=layer is unknown"):
        build_network("johnson", {"norm": "layer"})
    with pytest.raises(ValueError, match=r"network.factor=4.0 must be an integer in \[2, 8\]"):
        build_upscaler("johnson_upscaler", {"factor": 4.0})


def test_a_ramp_upsampled_linearly_is_a_ramp():
    upsample = UpsampleLinear(1, 1)
    torch.nn.init.constant_(upsample[-1].weight, 0.25)
    torch.nn.init.zeros_(upsample[-1].bias)
    ramp = torch.arange(8.0).expand(1, 1, 6, 8)
    steps = upsample(ramp).diff(dim=3)[..., 2:-2]
    torch.testing.assert_close(steps, torch.full_like(steps, 0.5))
    assert upsample(ramp).mean() == ramp.mean()


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_compiled_upsampling_learns_what_an_eager_one_does(scalar_code):
    both = nn.Sequential(UpsampleLinear(4, 4), UpsampleNearest(4, 2))  # compiled in one go
    upsample = both.to(memory_format=torch.channels_last)
    x = torch.rand(2, 4, 6, 8).to(memory_format=torch.channels_last).requires_grad_()
    results = []
    for layer in (upsample, torch.compile(upsample)):
        result = layer(x)
        results.append((result, *torch.autograd.grad(result.sin().sum(), [x, *layer.parameters()])))
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)


def test_fast_costs_a_fraction_of_johnson():
    assert count_flops(Fast(FastConfig()), 256, 256) * 7 < count_flops(
        Johnson(JohnsonConfig()), 256, 256
    )


def test_the_paper_s_upsampling_doubles_the_size_like_nearest_does():
    image = torch.rand(1, 3, 16, 24)
    for upsample in ("nearest", "transposed"):
        network = Johnson(JohnsonConfig(width=4, residual_blocks=0, upsample=upsample))
        assert network.body(image).shape == image.shape


def test_reflection_padding_leaves_no_border_on_a_pattern_that_mirrors_itself():
    # Rows of cosine with an extremum on each border are their own reflection: without the norm a
    # shift-invariant network must answer every row of a vertical wave alike.
    x = torch.linspace(0, torch.pi * 4, 65)[None, None, None, :].cos().expand(1, 3, 65, 65)
    network = Johnson(JohnsonConfig(width=4, residual_blocks=0))
    first = network.down[0]
    result = first(x)
    assert (result - result[:, :, 32:33]).abs().max() < 1e-5
    assert (F.conv2d(x, first.weight, first.bias, padding=4) - result).abs().max() > 1e-2


def test_unknown_networks_and_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="unknown network 'vast'.*johnson, fast"):
        build_network("vast", {})
    with pytest.raises(ValueError, match="cannot build network 'fast'.*depth"):
        build_network("fast", {"depth": 3})


@pytest.mark.parametrize("base", [TransformerNetwork, PerceptualLoss, ExportedNetwork])
def test_an_incomplete_subclass_cannot_be_made(base: type):
    with pytest.raises(TypeError, match="abstract"):
        type("Incomplete", (base,), {})()
