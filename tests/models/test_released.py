"""Released models: named, described, protected by checksums."""

import dataclasses
import runpy
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from fst.cli.app import app
from fst.config import FastConfig
from fst.errors import UserError
from fst.models import released
from fst.models.model_file import describe, open_model, read_model, save_model
from fst.models.model_info import StyleInfo, read_info
from fst.models.model_ref import ModelRef, find_model
from fst.networks.fast import Fast
from fst.networks.styled import StyledNetwork, in_style

ROOT = Path(__file__).parents[2]
CARD = {"artist": "Edvard Munch", "year": "1893", "rights": "public domain", "note": "bold waves"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one released model, the_scream, in fp16."""
    network = Fast(FastConfig(width=10, residual_blocks=1))
    save_model(tmp_path / "run.safetensors", network, describe(network, title="The Scream"))
    (tmp_path / "released").mkdir()
    monkeypatch.setattr(released, "released_folder", lambda: tmp_path / "released")
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(ROOT / "scripts" / "release" / "release_model.py"))
    given = Namespace(
        run=tmp_path / "run.safetensors", name="the_scream", title=None, licence="CC0", **CARD
    )
    script["release"](given, tmp_path / "released")
    return tmp_path / "released"


def test_release_keeps_the_weights_in_fp16_with_a_card(folder: Path):
    path = find_model("the_scream").path
    assert path == folder / "the_scream.safetensors"
    read = read_model(path)
    network, info = read.network, read.info
    read = read_model("run.safetensors")
    trained, before = read.network, read.info
    assert info == dataclasses.replace(before, licence="CC0", card=CARD)
    for ours, theirs in zip(network.parameters(), trained.parameters(), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.half().float())
    with safe_open(path, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_released_models_are_listed_with_their_cards(folder: Path):
    (model,) = released.released_models()
    network = read_model(folder / "the_scream.safetensors").network
    assert model == released.ReleasedModel(
        name="the_scream",
        title="The Scream",
        artist="Edvard Munch",
        year="1893",
        network="fast",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        size_bytes=(folder / "the_scream.safetensors").stat().st_size,
        licence="CC0",
        note="bold waves",
        styles=(),
        takes_any=False,
    )


def test_a_model_of_several_styles_is_released_with_those_of_the_table(folder: Path, capsys):
    network = StyledNetwork(Fast(FastConfig(width=10, residual_blocks=1)), 3)
    styles = [StyleInfo(name, f"/home/me/{name}.jpg", {"total": 2.0}) for name in "abc"]
    save_model("several.safetensors", network, describe(network, styles=styles))
    Path("styles.csv").write_text(
        "name,title,artist,year\nc,Sea,Somebody,1900\na,Sky,Nobody,1901\n"
    )
    script = runpy.run_path(str(ROOT / "scripts" / "release" / "release_model.py"))
    given = Namespace(
        run="several.safetensors", name="two", title="Two", licence="CC0",
        styles=Path("styles.csv"), **CARD,
    )  # fmt: skip
    path = script["release"](given, folder)
    read = open_model(find_model("two:c"))
    one, info = read.network, read.info
    assert (info.title, info.card["artist"], info.card["note"]) == ("Sea", "Somebody", "bold waves")
    before = in_style(network, 2).half().float().state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-3, rtol=1e-3)
    assert "/home/me" not in str(read_info(path)[0])
    assert [model.styles for model in released.released_models()] == [(), ("c", "a")]
    app(["models"], result_action="return_value")
    assert "2 styles, two:STYLE: c, a" in capsys.readouterr().out


def test_a_changed_released_model_is_refused(folder: Path):
    path = folder / "the_scream.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="does not match its checksum"):
        read_model("released/the_scream.safetensors")
    (folder / released.CHECKSUMS).unlink()
    with pytest.raises(UserError, match="has no checksum"):
        read_model(path)


@pytest.mark.parametrize("typed", ["the_scraem", "The Scream", "the-scream", "scream"])
def test_an_unknown_name_lists_the_closest(folder: Path, typed: str):
    with pytest.raises(FileNotFoundError, match="did you mean the_scream.*`fst train`"):
        find_model(typed)


def test_an_unlike_name_points_to_models_and_train(folder: Path):
    with pytest.raises(FileNotFoundError, match=r"`fst models` lists.*`fst train`"):
        find_model("qqqq")


def test_a_run_of_the_same_name_wins_and_this_can_be_said(folder: Path):
    said: list[str] = []
    find_model("the_scream", said.append)
    assert said == []
    run = Path("runs/the_scream/model.safetensors")
    run.parent.mkdir(parents=True)
    run.write_bytes(Path("run.safetensors").read_bytes())
    assert find_model("the_scream", said.append) == ModelRef(run)
    assert said == [f"the_scream: using {run}, not the released model of the same name"]


def test_released_files_name_no_folder_of_the_machine_they_were_trained_on():
    for name in released.released_names():
        info, _ = read_info(released.released_path(name))
        assert "/" not in str(info.training_config), name


def test_every_checkpoint_matches_its_checksum():
    folder = released.released_folder()
    assert {f"{name}.safetensors" for name in released.released_names()} == (
        released.read_checksums(folder).keys()
    )
    for model in released.released_models():
        if model.enlarges:
            assert open_model(find_model(model.name)).upscaler
        else:
            assert open_model(find_model(":".join([model.name, *model.styles[:1]]))).stylizer


def test_the_command_prints_a_table(fst_here):
    done = fst_here("models")
    assert done.returncode == 0
    names = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert names == ["NAME", *released.released_names()]
