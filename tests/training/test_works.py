"""One style of several works: what it is held against, and what its run says of them."""

import shutil
from pathlib import Path

import pytest
import torch
from samples import draw_picture
from torch import Tensor

import fst
from fst.config import PictureConfig, WorksConfig
from fst.errors import UserError
from fst.models.model_file import read_model
from fst.networks.palette import colours_of, fit_palette
from fst.pictures.image import resize
from fst.pictures.sheet import collage
from fst.training.distributed import World
from fst.training.registry import train
from fst.training.run import Run
from fst.training.style import StyleTask

CPU = torch.device("cpu")


@pytest.fixture
def works(tmp_path: Path) -> Path:
    folder = tmp_path / "redon"
    folder.mkdir()
    for seed, name in enumerate(("boat", "eye", "sphinx")):
        draw_picture(folder / f"{name}.png", 50 + seed, 60, 72 + 8 * seed)
    return folder


def task_of(compose, overrides: list[str]) -> StyleTask:
    task = Run(StyleTask, compose(overrides), World(), CPU).task
    assert isinstance(task, StyleTask)
    return task


def targets_of(task: StyleTask) -> dict[str, Tensor]:
    return {name: task.loss.get_buffer(name) for name in task.loss.names}


def test_the_target_is_the_mean_of_the_means_and_of_the_covariances(
    compose, tiny_overrides, works: Path
):
    task = task_of(compose, [f"style={works}", *tiny_overrides[1:]])
    network, size = task.loss.loss.loss_network, task.config.style.size_px
    means, covariances = [], []
    for file in sorted(works.iterdir()):
        picture = resize(fst.read_image(file), size)
        features = network(picture, ["relu2_2"])["relu2_2"][0].flatten(1).double()
        means.append(features.mean(1))
        covariances.append(torch.cov(features, correction=0))
    found = targets_of(task)["target_0_relu2_2"][0].double()
    torch.testing.assert_close(found[:, -1], torch.stack(means).mean(0), rtol=1e-4, atol=1e-4)
    expected = torch.stack(covariances).mean(0)
    torch.testing.assert_close(found[:, :-1], expected, rtol=1e-3, atol=1e-3)


def test_one_work_however_often_is_a_style_picture(compose, tiny_overrides, works: Path):
    boat = works / "boat.png"
    alone = task_of(compose, [f"style={boat}", *tiny_overrides[1:]])
    again = task_of(compose, [f"style=[{boat},{boat}]", *tiny_overrides[1:], "name=again"])
    assert again.config.style.title == "boat+1"
    for name, target in targets_of(alone).items():
        torch.testing.assert_close(targets_of(again)[name], target)
    torch.testing.assert_close(again.model().state_dict(), alone.model().state_dict())


def test_a_run_names_its_works_and_what_it_skips(compose, tiny_overrides, works: Path, capsys):
    (works / "list.txt").write_text("boat, eye, sphinx")
    without = [o for o in tiny_overrides[1:] if not o.startswith(("name=", "training.palette="))]
    config = compose([f"style={works}", *without, "training.images=8", "training.palette=0.5"])
    assert (config.name, config.style.title) == ("redon", "redon")
    assert train(config, console=True) == 0
    said = capsys.readouterr().out
    assert "one style of 3 works together (" in said
    assert "styles= makes a style of each" in said
    assert f"skipped {works / 'list.txt'}: is not a picture in a known format" in said
    model = read_model(config.run_dir / "model.safetensors")
    files = [str(works / f"{name}.png") for name in ("boat", "eye", "sphinx")]
    assert model.info.training_config["style"]["works"] == files
    assert model.info.styles == []


def test_the_palette_is_that_of_all_works(compose, tiny_overrides, works: Path):
    given = [o for o in tiny_overrides[1:] if not o.startswith("training.palette=")]
    task = task_of(compose, [f"style={works}", *given, "training.palette=0.5"])
    (style,) = task.styles
    colours = [colours_of(task.average, each) for each in style.pictures]
    palette = fit_palette(task.average, torch.stack(colours).mean(0), 0.5)
    *_, bias = task.average.state_dict().values()
    *_, fitted = task.model().state_dict().values()
    torch.testing.assert_close(fitted, bias + palette[:, :3] @ bias + palette[:, 3])


def test_a_run_resumes_where_its_works_were_moved_but_not_changed(
    compose, tiny_overrides, works: Path, tmp_path: Path
):
    overrides = [*tiny_overrides[1:], "training.images=8"]
    assert train(compose([f"style={works}", *overrides])) == 0
    shutil.move(works, tmp_path / "elsewhere")
    moved = [f"style={tmp_path / 'elsewhere'}", *overrides]
    assert train(compose(moved)) == 0
    draw_picture(tmp_path / "elsewhere" / "eye.png", 99, 60, 80)
    with pytest.raises(UserError, match="the pixels of the style have changed"):
        train(compose(moved))


def test_a_folder_is_given_to_style_or_to_styles(works: Path):
    with pytest.raises(UserError, match=r"style=.*redon makes one style .* styles=.*redon a style"):
        PictureConfig(picture=str(works))
    with pytest.raises(UserError, match=r"style.works is empty: give style=FOLDER or style=\[A,B"):
        WorksConfig(works=[])


def test_a_collage_shows_four_works_at_most():
    greys = [torch.full((1, 3, 20 + i, 30), i / 10) for i in range(6)]
    assert collage(greys[:1]) is greys[0]
    assert collage(greys[:3]).shape == (1, 3, 20, 60)
    four = collage(greys)
    assert four.shape == (1, 3, 40, 40)
    corners = four[0, 0, [10, 10, 30, 30], [10, 30, 10, 30]]
    torch.testing.assert_close(corners, torch.tensor([0.0, 0.1, 0.2, 0.3]))
