"""Regions: masks in which other models stylize, in Python and as the command takes them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from fst.config import FastConfig
from fst.errors import UserError
from fst.models.model_file import describe, save_model
from fst.models.model_ref import ModelRef
from fst.networks.fast import Fast
from fst.stylizing.regions import find_regions, split_region
from fst.stylizing.stylizer import Stylizer


@pytest.fixture(scope="module")
def stylizers() -> list[Stylizer]:
    """Three networks whose pictures differ."""
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        network = Fast(FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1))
        torch.nn.init.constant_(network.head[-2].bias, 0.5 * seed - 0.5)
        stylizer = Stylizer(network, describe(network), torch.device("cpu"), torch.float32)
        found.append(stylizer)
    return found


@pytest.fixture
def picture() -> Tensor:
    return torch.rand(2, 3, 44, 60)


def full(value: float) -> Tensor:
    return torch.full((1, 1, 44, 60), value)


@pytest.mark.parametrize("form", [lambda p: p, lambda p: (p * 255).round().byte()])
def test_where_a_mask_is_1_its_model_paints_and_where_it_is_0_the_other(
    stylizers: list[Stylizer], picture: Tensor, form: Callable[[Tensor], Tensor]
):
    base, other, _ = stylizers
    picture = form(picture)
    own = [each(picture) for each in (base, other)]
    assert not torch.equal(*own)
    assert torch.equal(base(picture, regions=[(full(1), other)]), own[1])
    assert torch.equal(base(picture, regions=[(full(0), other)]), own[0])
    left = full(0)
    left[..., :20] = 1
    halves = base(picture, regions=[(left, other)])
    assert torch.equal(halves[..., :20], own[1][..., :20])
    assert torch.equal(halves[..., 20:], own[0][..., 20:])


def test_grey_is_the_linear_mix(stylizers: list[Stylizer], picture: Tensor):
    base, other, _ = stylizers
    weight = torch.rand(1, 1, 44, 60)
    mixed = base(picture, regions=[(weight, other)])
    expected = (1 - weight) * base(picture) + weight * other(picture)
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)
    half = Image.new("L", (5, 3), 51)  # stretched over the picture
    torch.testing.assert_close(
        base(picture, regions=[(half, other)]),
        0.8 * base(picture) + 0.2 * other(picture),
        atol=1e-6,
        rtol=0,
    )


def test_the_last_region_lies_on_top(stylizers: list[Stylizer], picture: Tensor):
    base, first, second = stylizers
    both = [(full(1), first), (full(1), second)]
    assert torch.equal(base(picture, regions=both), second(picture))
    assert torch.equal(base(picture, regions=both[::-1]), first(picture))
    mixed = base(picture, regions=[(full(1), first), (full(0.25), second)])
    expected = 0.75 * first(picture) + 0.25 * second(picture)
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)


def test_edges_that_fade_into_each_other_leave_no_seam(stylizers: list[Stylizer], picture: Tensor):
    base, first, second = stylizers
    fade = torch.linspace(0, 1, 60).expand(1, 1, 44, 60)
    mixed = base(picture, regions=[(1 - fade, first), (fade, second)])
    expected = (1 - fade) * first(picture) + fade * second(picture)
    torch.testing.assert_close(mixed, expected, atol=1e-5, rtol=0)


def test_strength_colours_and_the_mask_hold_for_every_region(
    stylizers: list[Stylizer], picture: Tensor
):
    base, other, _ = stylizers
    weight, mask = torch.rand(1, 1, 44, 60), torch.rand(1, 1, 44, 60)
    for look in ({"strength": 0.3}, {"mask": mask}, {"keep_colors": True}, {"strokes": 2}):
        mixed = base(picture, regions=[(weight, other)], **look)
        expected = torch.lerp(base(picture, **look), other(picture, **look), weight)
        torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)


def test_tiles_give_what_the_whole_gives(stylizers: list[Stylizer]):
    base, *others = stylizers
    picture = torch.rand(1, 3, 300, 90)  # of more rows than are mixed at once
    regions = [(torch.rand(1, 1, 300, 90), other) for other in others]
    shares: list[float] = []
    tiled = base(picture, regions=regions, tile_px=48, progress=shares.append)
    torch.testing.assert_close(tiled, base(picture, regions=regions), atol=1e-4, rtol=0)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_masks_of_another_shape_are_refused(stylizers: list[Stylizer], picture: Tensor):
    with pytest.raises(ValueError, match=r"mask of shape \(1, 1, 44, 60\)"):
        stylizers[0](picture, regions=[(torch.ones(44, 60), stylizers[1])])
    with pytest.raises(TypeError, match="expected a mask as a tensor or a PIL picture"):
        stylizers[0](picture, regions=[("sky.png", stylizers[1])])


@pytest.mark.parametrize("mask", ["sky.png", "a=b.png", "=", "c:d=e=.png", "a=museum:x=0.5.png"])
@pytest.mark.parametrize("model", ["udnie", "museum:a=0.5,b=0.5", "any:x=y.jpg", "a=b", "=x"])
def test_names_of_masks_and_models_may_hold_any_sign(
    mask: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path(mask).touch()
    assert split_region(f"{mask}={model}") == (Path(mask), model)


@pytest.mark.parametrize("given", ["sky.png", "", "=udnie", "sky.png="])
def test_what_is_no_region_is_refused(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("sky.png").touch()
    with pytest.raises(UserError, match=f"^--region {given} must be MASK=MODEL"):
        split_region(given)


def test_missing_files_and_repeated_masks_are_refused(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sky.png").touch()
    network = Fast(FastConfig(width=8, residual_blocks=0))
    save_model(Path("m.safetensors"), network, describe(network))
    model = ModelRef(Path("m.safetensors"))
    assert find_regions(["sky.png=m.safetensors"]) == {Path("sky.png"): model}
    with pytest.raises(FileNotFoundError, match=r"--region a\.png=udnie: there is no mask a\.png"):
        find_regions(["a.png=udnie"])
    with pytest.raises(FileNotFoundError, match="no model nowhere"):
        find_regions(["sky.png=nowhere"])
    with pytest.raises(UserError, match="is given twice"):
        find_regions(["sky.png=m.safetensors", f"{tmp_path}/sky.png=m.safetensors"])
