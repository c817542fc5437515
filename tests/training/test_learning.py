"""Learning styles for a network of several."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from samples import draw_picture

from fst.config import FastConfig, MomentsLossConfig
from fst.errors import TrainingStoppedError
from fst.losses.objective import towards
from fst.losses.relative import MomentsLoss
from fst.losses.vgg import load_vgg16
from fst.models.model_file import describe, read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import find_model
from fst.networks.fast import Fast
from fst.networks.styled import StyledNetwork, in_style
from fst.training.learning import add_styles, learn_style

# Untrained networks cannot follow light: the style's own numbers are what is learnt.
CONFIG = MomentsLossConfig(style_levels=1, content_target=None, light_weight=0, colour_weight=0)


@pytest.fixture
def network() -> StyledNetwork:
    styled = StyledNetwork(
        Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1, full_width=8)), 3
    )
    torch.nn.init.normal_(styled.residuals, std=0.3)
    return styled


@pytest.fixture
def model(network: StyledNetwork, tmp_path: Path) -> Path:
    info = describe(network, styles=[StyleInfo(name) for name in ("one", "two", "three")])
    save_model(tmp_path / "base.safetensors", network, info)
    return tmp_path / "base.safetensors"


def test_learning_lowers_the_loss_of_the_closest_known_style(
    network: StyledNetwork, random_vgg: Path
):
    vgg = load_vgg16(random_vgg, "relu3_3", verify=False)
    generator = torch.Generator().manual_seed(0)
    style = torch.rand(1, 3, 48, 48, generator=generator) * torch.tensor([1, 0.3, 0.1]).view(
        3, 1, 1
    )
    loss = towards(MomentsLoss(vgg, CONFIG), style)
    photo = torch.rand(1, 3, 56, 56, generator=generator)

    def total(number: int, of: StyledNetwork) -> float:
        with torch.no_grad():
            return loss(in_style(of, number)(photo), photo)["total"].item()

    learnt = learn_style(network, loss, [photo] * 42, images=40, margin_px=4)
    known = [total(number, network) for number in range(3)]
    assert learnt.started_from == known.index(min(known))
    assert total(3, network.with_style(learnt.code, learnt.residual)) < 0.95 * min(known)


def test_photographs_whose_gradient_is_not_finite_are_skipped_and_counted(
    network: StyledNetwork, random_vgg: Path
):
    loss = towards(
        MomentsLoss(load_vgg16(random_vgg, "relu3_3", verify=False), CONFIG),
        torch.rand(1, 3, 48, 48),
    )
    good, bad = torch.rand(1, 3, 56, 56), torch.full((1, 3, 56, 56), torch.nan)
    photos = [good, good, *[good, bad, good, good, good] * 2]
    learnt = learn_style(network, loss, photos, images=10, margin_px=4)
    assert learnt.skipped == 2
    assert learnt.code.isfinite().all()
    assert all(math.isfinite(term) for term in learnt.terms.values())
    with pytest.raises(TrainingStoppedError, match="the gradient became infinite or NaN within 10"):
        learn_style(network, loss, [good, good, *[bad] * 40], images=40, margin_px=4)


@pytest.mark.parametrize("blank", [0.0, 1.0])
def test_blank_photographs_do_not_stop_learning(
    network: StyledNetwork, random_vgg: Path, blank: float
):
    loss = towards(
        MomentsLoss(load_vgg16(random_vgg, "relu3_3", verify=False), CONFIG),
        torch.rand(1, 3, 48, 48),
    )
    photos = [torch.rand(1, 3, 56, 56), torch.full((1, 3, 56, 56), blank)] * 6
    learnt = learn_style(network, loss, photos, images=10, margin_px=4)
    assert learnt.skipped == 0
    assert learnt.residual.isfinite().all()


def test_the_file_has_the_new_style_and_the_others_bit_for_bit(
    model: Path, photos: Path, tmp_path: Path, fst_here: Callable
):
    painting = draw_picture(tmp_path / "red sea.png", 3, 80, 64)
    arguments = ["--photographs", photos, "--images", 2, "-o", "more.safetensors"]
    done = fst_here("learn", model, painting, *arguments)
    assert done.returncode == 0, done.stderr
    assert "red sea: content" in done.stdout
    assert "fst stylize more.safetensors:red sea" in done.stdout
    assert (tmp_path / "more.sheet.jpg").is_file()
    before = read_model(model).network
    read = read_model(tmp_path / "more.safetensors")
    after, info = read.network, read.info
    assert [style.name for style in info.styles] == ["one", "two", "three", "red sea"]
    assert isinstance(before, StyledNetwork)
    for number in range(3):
        old, new = (in_style(network, number).state_dict() for network in (before, after))
        assert all(torch.equal(old[name], new[name]) for name in old)
    assert not torch.equal(after.codes[3], after.codes[0])

    again = fst_here("learn", model, painting, *arguments)
    assert (again.returncode, again.stderr.strip()) == (
        2,
        "fst: more.safetensors exists: --overwrite replaces it",
    )


def test_without_photographs_it_learns_on_drawn_pictures(
    model: Path, tmp_path: Path, fst_here: Callable
):
    painting = draw_picture(tmp_path / "sea.png", 3, 80, 64)
    done = fst_here("learn", model, painting, "--images", 1, "-o", "more.safetensors")
    assert done.returncode == 0, done.stderr
    assert "learning on drawn pictures" in done.stderr
    info = read_model(tmp_path / "more.safetensors").info
    assert info.styles[-1].losses["content"] > 0
    assert (tmp_path / "more.sheet.jpg").is_file()


@pytest.mark.parametrize("output", ["file/more.safetensors", "folder.safetensors"])
def test_a_place_that_cannot_be_written_is_said_before_anything_is_learnt(
    output: str, model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    painting = draw_picture(tmp_path / "sea.png", 3)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.safetensors").mkdir()
    monkeypatch.setattr("fst.training.learning.learn_style", lambda *_: pytest.fail("it learnt"))
    with pytest.raises(OSError, match=output.partition(".")[0].partition("/")[0]):
        add_styles(find_model(model), [str(painting)], photos, tmp_path / output, overwrite=True)


def test_mistakes_are_refused_before_anything_is_learnt(
    model: Path, photos: Path, tmp_path: Path, style_picture: Path
):
    taken = draw_picture(tmp_path / "two.png", 3, 40, 40)
    out = tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match="has a style two already"):
        add_styles(find_model(model), [str(taken)], photos, out)
    with pytest.raises(ValueError, match=r"cannot write .*out.pth: give a name that ends in"):
        add_styles(find_model(model), [str(taken)], photos, tmp_path / "out.pth")
    with pytest.raises(ValueError, match="has one style, and learning needs a model of several"):
        add_styles(find_model("starry_night"), [str(style_picture)], photos, out)
    with pytest.raises(ValueError, match="images=0 must be at least 1"):
        add_styles(find_model(model), [str(taken)], photos, out, images=0)
    with pytest.raises(ValueError, match="size=8 must be at least 32"):
        add_styles(find_model(model), [str(style_picture)], photos, out, size_px=8)
    with pytest.raises(FileNotFoundError, match="--photographs .*nowhere is not a folder"):
        add_styles(find_model(model), [str(style_picture)], tmp_path / "nowhere", out)
    with pytest.raises(ValueError, match="leave out :one"):
        add_styles(find_model(f"{model}:one"), [str(style_picture)], photos, out)
    assert not out.exists()
