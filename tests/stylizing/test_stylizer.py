"""One `Stylizer`: threads, unusual inputs, results that are not finite, and compiling."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fst.config import FastConfig
from fst.errors import UserError
from fst.models import style_choice
from fst.models.model_file import describe
from fst.networks.fast import Fast
from fst.networks.layers import InstanceNorm
from fst.stylizing import tiles
from fst.stylizing.stylizer import Stylizer, load


@pytest.fixture
def stylize() -> Stylizer:
    network = Fast(FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1))
    return Stylizer(network, describe(network), torch.device("cpu"), torch.float32)


def with_weight(value: float) -> Stylizer:
    network = Fast(FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1))
    nn.init.constant_(next(network.parameters()), value)
    return Stylizer(network, describe(network), torch.device("cpu"), torch.float32)


def test_eight_threads_give_the_results_of_one_bit_for_bit(stylize: Stylizer):
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.rand(1, 3, 64 + 8 * (i % 4), 72, generator=generator) for i in range(32)]
    calls: list[tuple[torch.Tensor, int]] = [(p, 32 * (i % 2)) for i, p in enumerate(pictures)]

    def one(call: tuple[torch.Tensor, int]) -> torch.Tensor:
        return stylize(call[0], tile_px=call[1])

    expected = [one(call) for call in calls]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(one, calls))
    assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))


def test_a_plain_call_during_a_tiled_one_is_not_affected(stylize: Stylizer):
    picture = torch.rand(1, 3, 48, 48)
    expected = stylize(picture)
    during: list[torch.Tensor] = []
    stylize(
        torch.rand(1, 3, 96, 96), tile_px=32, progress=lambda _: during.append(stylize(picture))
    )
    assert during
    assert all(torch.equal(result, expected) for result in during)


@pytest.mark.parametrize("tile_px", [0, 32])
def test_fp32_is_computed_without_tf32(stylize: Stylizer, monkeypatch, tile_px: int):
    open_contexts: list[bool] = []

    @contextmanager
    def tf32(device: torch.device, allowed: bool) -> Iterator[None]:
        open_contexts.append(allowed)
        yield
        open_contexts.pop()

    within: list[list[bool]] = []
    monkeypatch.setattr("fst.stylizing.stylizer.tf32", tf32)
    convolve = torch.nn.functional.conv2d
    monkeypatch.setattr(
        torch.nn.functional,
        "conv2d",
        lambda *given, **named: (within.append(list(open_contexts)), convolve(*given, **named))[1],
    )
    stylize(torch.rand(1, 3, 64, 64), tile_px=tile_px)
    assert within
    assert all(contexts == [False] for contexts in within)


class OnMps(torch.Tensor):
    """A tensor as on MPS, which has no fp64; `cpu` returns a plain one."""

    def double(self) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


@torch.no_grad()
def test_tiles_need_no_fp64_on_the_device(stylize: Stylizer):
    picture = torch.rand(1, 3, 96, 96)
    network = stylize.network
    assert isinstance(network, Fast)
    results = []
    for given in (picture, picture.as_subclass(OnMps)):
        result = torch.zeros_like(picture)
        tiles.stylize_in_tiles(
            network,
            96,
            96,
            32,
            lambda rows, columns, given=given: given[..., rows, columns],
            lambda rows, columns, done, result=result: result[..., rows, columns].copy_(done),
        )
        results.append(result)
    assert torch.equal(*results)


def test_a_private_copy_shares_its_weights(stylize: Stylizer):
    network = stylize.network
    assert isinstance(network, Fast)
    copied = tiles._private(network)
    own = {id(module) for module in network.modules()}
    assert not own & {id(module) for module in copied.modules()}
    assert any(isinstance(module, InstanceNorm) for module in copied.modules())
    ours, theirs = network.state_dict(), copied.state_dict()
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in ours)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("tile_px", [0, 32])
def test_a_result_that_is_not_finite_is_an_error(value: float, tile_px: int):
    with pytest.raises(UserError, match="not finite"):
        with_weight(value)(torch.rand(1, 3, 64, 64), tile_px=tile_px)


def test_a_path_is_refused_with_what_to_pass_instead(stylize: Stylizer):
    for path in ("photo.jpg", Path("photo.jpg")):
        with pytest.raises(TypeError, match=r"path 'photo\.jpg': pass PIL\.Image\.open"):
            stylize(path)
    with pytest.raises(TypeError, match="expected a tensor, a PIL picture or a frame"):
        stylize(None)


def test_a_pil_mask_is_stretched_over_the_picture(stylize: Stylizer):
    picture = torch.rand(1, 3, 40, 64)
    half = torch.zeros(1, 1, 40, 64)
    half[..., 32:] = 1
    mask = Image.fromarray((half[0, 0] * 255).byte().numpy())
    assert torch.equal(stylize(picture, mask=mask), stylize(picture, mask=half))
    white = Image.new("L", (3, 5), 255)
    torch.testing.assert_close(stylize(picture, mask=white), stylize(picture))
    with pytest.raises(ValueError, match=r"mask of shape \(1, 1, 40, 64\)"):
        stylize(picture, mask=torch.ones(40, 64))
    with pytest.raises(TypeError, match="expected a mask as a tensor or a PIL picture"):
        stylize(picture, mask="mask.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_transparent_pil_picture_keeps_its_alpha_and_its_colours(stylize: Stylizer, mode: str):
    random = np.random.default_rng(0)
    alpha = Image.fromarray(random.integers(9, 256, (20, 31), dtype=np.uint8))
    opaque = Image.fromarray(random.integers(0, 256, (20, 31, 3), dtype=np.uint8))
    opaque = opaque.convert(mode.removesuffix("A"))
    picture = opaque.copy()
    picture.putalpha(alpha)
    assert picture.mode == mode
    result = stylize(picture)
    assert result.mode == "RGBA"
    assert np.array_equal(np.array(result)[..., 3], np.array(alpha))
    # Not mixed with a ground, which would show in half-transparent strokes on any other.
    assert np.array_equal(np.array(result)[..., :3], np.array(stylize(opaque.convert("RGB"))))


def test_no_number_of_sizes_makes_a_compiled_network_fall_back(stylize: Stylizer, monkeypatch):
    compiled: list[Callable[..., object]] = []

    def backend(graph: Callable[..., object], inputs: object) -> Callable[..., object]:
        compiled.append(graph)
        return graph

    compile_module = nn.Module.compile

    def with_backend(module: nn.Module, **options: object) -> None:
        compile_module(module, backend=backend, dynamic=options["dynamic"])

    monkeypatch.setattr(nn.Module, "compile", with_backend)
    torch._dynamo.reset()
    stylize.compile()
    for side in range(16, 16 + 4 * 11, 4):
        stylize(torch.rand(1, 3, side, side))
    assert len(compiled) == 11


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (300, 2)])
def test_a_painting_of_a_few_pixels_is_a_plain_colour(size: tuple[int, int], tmp_path: Path):
    Image.new("RGB", size, (95, 130, 194)).save(tmp_path / "a.png")
    photo = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    shown = load(f"any:{tmp_path / 'a.png'}", device="cpu")(photo).astype(int)
    assert np.abs(shown.mean((0, 1)) - (95, 130, 194)).max() < 40
    assert shown.std((0, 1)).max() < 0.5 * photo.std((0, 1)).min()


def test_a_large_painting_is_reduced_before_it_becomes_floats(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(style_choice, "_MAX_PX", 10_000)
    Image.new("RGB", (500, 200), "navy").save(tmp_path / "a.png")
    painting = style_choice.read_painting(tmp_path / "a.png")
    assert painting.shape == (1, 3, 63, 158)
