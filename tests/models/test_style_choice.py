"""The style of one painting, and of a folder of paintings."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from samples import draw_picture

import fst
from fst.errors import UserError
from fst.measuring.subjects import run_names
from fst.models.model import Model
from fst.models.model_file import open_model, read_model
from fst.models.model_ref import find_model
from fst.models.style_choice import predict_code
from fst.networks.palette import colours_of, fit_palette
from fst.networks.styled import StyledNetwork


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two paintings of an artist, one of them in a folder of its own."""
    (tmp_path / "O. Redon" / "late").mkdir(parents=True)
    draw_picture(tmp_path / "O. Redon" / "boat.png", 1, 90, 70)
    draw_picture(tmp_path / "O. Redon" / "late" / "sphinx.png", 2, 60, 100)
    return tmp_path / "O. Redon"


def chosen(choice: object, note: Callable[[str], None] = lambda line: None) -> Model:
    return open_model(find_model(f"any:{choice}", note))


def assert_equal(one: Model, other: Model) -> None:
    theirs = other.stylizer.state_dict()
    for name, value in one.stylizer.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_a_folder_of_one_painting_is_that_painting(folder: Path):
    shutil.rmtree(folder / "late")
    assert_equal(chosen(f"{folder}/"), chosen(folder / "boat.png"))
    assert chosen(f"{folder}/").info.title == "O. Redon"


def test_a_painting_that_is_there_twice_counts_as_one(folder: Path):
    shutil.copy(folder / "boat.png", folder / "late" / "sphinx.png")
    assert_equal(chosen(folder), chosen(folder / "boat.png"))


def test_the_style_of_a_folder_has_the_mean_of_the_codes_and_of_the_colours(folder: Path):
    read = read_model(find_model("any").path)
    network, info = read.network, read.info
    assert isinstance(network, StyledNetwork)
    works = [fst.read_image(folder / name) for name in ("boat.png", "late/sphinx.png")]
    codes = torch.stack([predict_code(network, each, info.predictor_px) for each in works])
    colours = torch.stack([colours_of(network.network, each) for each in works])
    expected = network.with_style(codes.mean(0))
    expected.fit_palette(-1, colours.mean(0), info.palette_share)
    of_choice = chosen(folder).chosen
    assert of_choice is not None
    torch.testing.assert_close(of_choice.network.codes[-1], codes.mean(0))
    torch.testing.assert_close(of_choice.network.palettes[-1], expected.palettes[-1])
    alone = [fit_palette(network.network, each, 1.0) for each in colours]
    assert not torch.allclose(alone[0], alone[1])


def test_a_folder_blends_like_any_style(folder: Path):
    with torch.no_grad():
        blend = chosen(f"{folder}=0.25,the_scream=0.75").chosen
    assert blend is not None
    shares = blend.shares[blend.shares > 0].tolist()
    assert shares == [0.75, 0.25]


def test_what_is_no_picture_is_skipped_counted_and_named(folder: Path):
    expected = chosen(folder)
    (folder / "list.txt").write_text("boat, sphinx")
    (folder / "torn.png").write_bytes((folder / "boat.png").read_bytes()[:200])
    said: list[str] = []
    assert_equal(chosen(folder, said.append), expected)
    (line,) = said
    assert line.startswith(f"{folder}: 2 files skipped: list.txt (is not a picture in a known")
    assert "torn.png (cannot decode" in line


def test_a_folder_without_pictures_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no style: .*empty holds no pictures$"):
        chosen(tmp_path / "empty")
    (tmp_path / "empty" / "list.txt").write_text("none")
    with pytest.raises(UserError, match=r"empty holds no pictures: 1 file skipped: list.txt"):
        chosen(tmp_path / "empty")


def test_a_folder_s_name_with_a_slash_names_its_results(folder: Path):
    refs = [find_model(f"any:{folder}/"), find_model(f"any:{folder / 'boat.png'}")]
    assert run_names(refs) == ["O. Redon", "boat.png"]


def test_the_command_says_what_it_skips(folder: Path, tmp_path: Path, fst_here: Callable):
    (folder / "list.txt").write_text("boat, sphinx")
    photo = draw_picture(tmp_path / "photo.png", 3)
    done = fst_here("stylize", f"any:{folder}/", photo, "-o", "out.png")
    assert done.returncode == 0, done.stderr
    assert "1 file skipped: list.txt" in done.stderr
    expected = fst.load(f"any:{folder}")(fst.read_image(photo))
    torch.testing.assert_close(fst.read_image("out.png"), expected, rtol=0, atol=2 / 255)
