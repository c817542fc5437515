"""Trainings of several styles: which image is trained in which, and what they leave."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from samples import draw_picture

import fst
from fst.errors import UserError
from fst.models.model_file import open_model, read_model
from fst.models.model_ref import find_model
from fst.networks.palette import colours_of, fit_palette
from fst.networks.styled import StyledNetwork, in_style
from fst.training import style_pictures, validation
from fst.training.distributed import World
from fst.training.registry import train
from fst.training.run import Run
from fst.training.style import StyleTask
from fst.training.style_pictures import draw_styles, open_styles

CPU = torch.device("cpu")


@pytest.fixture
def paintings(tmp_path: Path) -> Path:
    folder = tmp_path / "paintings"
    (folder / "more").mkdir(parents=True)
    for i, name in enumerate(("sea.png", "more/night.png", "a=b, c.png")):
        draw_picture(folder / name, 200 + i, 72, 60)
    (folder / "list.txt").write_text("not a picture")
    return folder


def test_every_style_has_its_turn_whatever_the_batch():
    whole = draw_styles(5, seed=3, position=0, count=20)
    for turn in whole.split(5):
        assert sorted(turn.tolist()) == [0, 1, 2, 3, 4]
    assert whole[:5].tolist() != whole[5:10].tolist()
    parts = torch.cat([draw_styles(5, 3, position, 4) for position in range(0, 20, 4)])
    assert torch.equal(whole, parts)
    assert whole.tolist() != draw_styles(5, 4, 0, 20).tolist()


def test_a_style_that_would_become_enormous_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch
):
    Image.new("RGB", (20_000, 3)).save(tmp_path / "line.png")
    Image.new("RGB", (900, 30), "teal").save(tmp_path / "scroll.png")
    (scroll,) = open_styles([str(tmp_path / "scroll.png")], 64, CPU)
    assert scroll.pictures[0].shape == (1, 3, 64, 1920)

    def read(path: Path) -> torch.Tensor:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(style_pictures, "read_image", read)
    with pytest.raises(
        UserError, match=r"line\.png is 6667 times as long as wide: .* 64 .* crop it"
    ):
        open_styles([str(tmp_path / "line.png")], 64, CPU)


def test_styles_are_named_after_their_files(paintings: Path):
    styles = open_styles([str(paintings)], 48, CPU)
    assert [style.name for style in styles] == ["a_b_ c", "night", "sea"]
    assert all(min(style.pictures[0].shape[-2:]) == 48 for style in styles)
    first = open_styles([str(paintings / "sea.png"), str(paintings / "more")], 48, CPU)
    assert [style.name for style in first] == ["sea", "night"]


def test_two_styles_of_one_name_and_empty_folders_are_refused(paintings: Path, tmp_path: Path):
    shutil.copy(paintings / "sea.png", paintings / "more" / "sea.png")
    with pytest.raises(
        ValueError, match=r"more/sea.png and .*/sea.png would both be the style sea"
    ):
        open_styles([str(paintings)], 48, CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no pictures"):
        open_styles([str(tmp_path / "empty")], 48, CPU)


def test_a_run_of_several_styles(compose, tiny_overrides, paintings: Path, capsys):
    overrides = [f"styles={paintings}", *tiny_overrides[1:]]
    config = compose(overrides)
    assert train(config, console=True) == 0
    said = capsys.readouterr().out
    names = ["a_b_ c", "night", "sea"]
    assert "3 styles (" in said
    lines = (config.run_dir / "metrics.jsonl").read_text().splitlines()
    reports = [json.loads(line) for line in lines]
    totals = {name: reports[-1][f"heldout/total/{name}"] for name in names}
    assert reports[-1]["heldout/total"] == pytest.approx(sum(totals.values()) / 3)
    worst = max(totals, key=lambda name: totals[name])
    assert f"worst styles   {worst} {totals[worst]:.3f}" in said

    model = config.run_dir / "model.safetensors"
    read = read_model(model)
    network, info = read.network, read.info
    assert isinstance(network, StyledNetwork)
    assert (info.format_version, info.palette_share) == (3, 0)
    assert [style.name for style in info.styles] == names
    assert {style.name: style.losses["total"] for style in info.styles} == totals
    read = open_model(find_model(f"{config.run_dir}:night"))
    one, of_one = read.network, read.info
    assert of_one.title == "night"
    assert of_one.training_config["style"]["picture"] == str(paintings / "more" / "night.png")
    photo = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        expected = network(photo, torch.tensor([1]))
    torch.testing.assert_close(one(photo), expected)
    torch.testing.assert_close(fst.load(f"{model}:night", dtype="fp32")(photo), expected)
    assert not torch.allclose(open_model(find_model(f"{model}:sea")).network(photo), expected)

    sheet = fst.read_image(config.run_dir / "contact_sheet.jpg")
    assert sheet.shape[2] > 4 * 48  # the photographs, and each style in them


def test_a_training_starts_from_one_of_several_styles(
    compose, tiny_overrides, paintings: Path, style_picture: Path
):
    several = compose([f"styles={paintings}", *tiny_overrides[1:], "training.images=8"])
    assert train(several) == 0
    start = f"init={several.run_dir}:night"
    config = compose([*tiny_overrides, "name=from_night", start])
    network = Run(StyleTask, config, World(), CPU).task.descent.network
    expected = open_model(find_model(f"{several.run_dir}:night")).network.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_training_of_styles_continues_those_that_its_start_knows(
    compose, tiny_overrides, paintings: Path
):
    several = compose([f"styles={paintings}", *tiny_overrides[1:], "training.images=8"])
    assert train(several) == 0
    known = read_model(several.run_dir / "model.safetensors").network
    assert isinstance(known, StyledNetwork)
    draw_picture(paintings / "dawn.png", 7, 72, 60)
    (paintings / "sea.png").unlink()  # "a_b_ c", "dawn", "night" follow "a_b_ c", "night", "sea"
    again = [f"styles={paintings}", *tiny_overrides[1:], "name=again"]
    network = Run(
        StyleTask, compose([*again, f"init={several.run_dir}"]), World(), CPU
    ).task.descent.network
    assert isinstance(network, StyledNetwork)
    for here, there in ((0, 0), (2, 1)):
        torch.testing.assert_close(network.vectors()[here], known.vectors()[there])
    assert not network.residuals[1].any()

    other = paintings.parent / "others"
    other.mkdir()
    draw_picture(other / "dusk.png", 8, 72, 60)
    draw_picture(other / "noon.png", 9, 72, 60)
    config = compose([f"styles={other}", *again[1:], f"init={several.run_dir}"])
    with pytest.raises(UserError, match=r"has none of the styles of this run \(dusk, noon\)"):
        Run(StyleTask, config, World(), CPU)


def test_each_style_has_the_palette_of_its_own_painting(compose, tiny_overrides, paintings: Path):
    overrides = [f"styles={paintings}", *tiny_overrides[1:], "training.palette=0.5"]
    config = compose(overrides)
    assert train(config) == 0
    read = read_model(config.run_dir / "model.safetensors")
    network, info = read.network, read.info
    assert isinstance(network, StyledNetwork)
    assert info.palette_share == 0.5
    size = config.style.size_px
    for number, style in enumerate(open_styles([str(paintings)], size, CPU)):
        found = network.palettes[number].clone()
        network.palettes[number] = 0
        folded = in_style(network, number)
        expected = fit_palette(folded, colours_of(folded, style.pictures[0]), 0.5)
        torch.testing.assert_close(found, expected)


def test_of_many_styles_some_at_equal_distances_are_judged(
    compose, tiny_overrides, paintings: Path, monkeypatch
):
    monkeypatch.setattr(validation, "MAX_STYLES", 2)
    config = compose([f"styles={paintings}", *tiny_overrides[1:], "training.images=8"])
    assert train(config) == 0
    info = read_model(config.run_dir / "model.safetensors").info
    assert [bool(style.losses) for style in info.styles] == [True, False, True]


def test_what_is_for_one_style_is_refused_for_several(compose, tiny_overrides, paintings: Path):
    overrides = [f"styles={paintings}", *tiny_overrides[1:]]
    johnson = [o for o in overrides if not o.startswith("network.coarse")]
    with pytest.raises(ValueError, match="network.norm=batch has one style"):
        compose([*johnson, "network=johnson", "network.norm=batch"])
