"""A model named once: what the user typed is parsed, found and copied a single time."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import torch
from PIL import Image

import fst
from fst.cli.app import app
from fst.config import RUNS_DIR, FastConfig, OptimizeConfig, RunConfig
from fst.models.model_file import describe, open_model, read_model, save_model
from fst.models.model_info import StyleInfo
from fst.models.model_ref import ModelRef, find_model, find_models
from fst.networks.fast import Fast
from fst.networks.styled import StyledNetwork


@contextmanager
def count_calls() -> Iterator[Counter[str]]:
    """Count the calls of functions by name; `deepcopy` only of networks, from fst."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        code, caller = frame.f_code, frame.f_back
        if code.co_name == "deepcopy":
            package = str(Path(fst.__file__).parent)
            copied = caller is not None and caller.f_code.co_filename.startswith(package)
            calls["deepcopy"] += copied and isinstance(frame.f_locals["x"], torch.nn.Module)
        elif code.co_name == "exists" and code.co_filename.endswith("model_name.py"):
            calls[f"exists {frame.f_locals['path']}"] += 1
        else:
            calls[code.co_name] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.fixture
def painting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = StyledNetwork(
        Fast(FastConfig(width=8, coarse_width=8, residual_blocks=1)), 0, predicts=True
    )
    info = describe(network, predictor_px=64, palette_share=0.5)
    save_model(tmp_path / "runs" / "any" / "model.safetensors", network.eval(), info)
    Image.effect_noise((70, 80), 60).convert("RGB").save("sea.jpg")
    return "sea.jpg"


def load(painting: str) -> None:
    assert fst.load(f"any:{painting}", "cpu", "fp32").info.title == "sea"


def stylize(painting: str) -> None:
    Path("photos").mkdir()
    Image.effect_noise((40, 30), 60).convert("RGB").save("photos/one.png")
    given = ["stylize", f"any:{painting}", "photos/one.png", "-o", "out.png", "--device", "cpu"]
    assert app(given, result_action="return_value") == 0


@pytest.mark.parametrize("use", [load, stylize])
def test_a_painting_is_named_found_and_copied_once(use: Callable[[str], None], painting: str):
    with count_calls() as calls:
        use(painting)
    assert calls["split_style"] == calls["find_model"] == 1
    assert calls[f"exists {painting}"] == 1
    assert calls["deepcopy"] == 1


def test_a_blend_of_paintings_costs_one_copy_too(painting: str):
    Image.new("RGB", (70, 80), "red").save("red.jpg")
    with count_calls() as calls:
        fst.load(f"any:{painting}=0.5,red.jpg=0.5", "cpu", "fp32")
    assert calls["deepcopy"] == 1


def test_a_style_that_is_chosen_leaves_the_model_as_it_was(painting: str):
    model = read_model(find_model("any").path)
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    first = model.in_style(painting).stylizer.state_dict()
    model.in_style(painting).stylizer.apply(lambda module: module.to(torch.float16))
    assert model.network.state_dict().keys() == before.keys()
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    again = model.in_style(painting).stylizer.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_reference_names_the_run_or_the_file():
    assert ModelRef(Path("runs/sea/model.safetensors")).name == "sea"
    assert ModelRef(Path("models/v1.2.safetensors"), "udnie").name == "v1.2"
    assert str(ModelRef(Path("a.safetensors"), "b=1,c=2")) == "a.safetensors:b=1,c=2"
    assert str(ModelRef(Path("a.onnx"))) == "a.onnx"
    assert [ModelRef(Path(f"a{kind}")).is_exported for kind in (".onnx", ".pt2", ".pth")] == [
        True, True, False,
    ]  # fmt: skip


def test_lists_hold_a_reference_for_each_model():
    museum, scream = find_models("museum:udnie=0.5,starry_night=0.5,the_scream")
    assert (museum.name, museum.choice) == ("museum", "udnie=0.5,starry_night=0.5")
    assert (scream.name, scream.choice) == ("the_scream", "")


def test_names_are_looked_up_where_trainings_write_by_default(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert RunConfig.runs_dir == OptimizeConfig.runs_dir == RUNS_DIR
    network = Fast(FastConfig(width=8, residual_blocks=0))
    for folder in (RUNS_DIR, "elsewhere"):
        save_model(Path(folder, folder, "model.safetensors"), network, describe(network))
    assert find_model(RUNS_DIR).path == Path(RUNS_DIR, RUNS_DIR, "model.safetensors")
    assert find_model("elsewhere/elsewhere").path.parent == Path("elsewhere/elsewhere")
    with pytest.raises(FileNotFoundError, match=f"no model nowhere: .*, not a run in {RUNS_DIR}/"):
        find_model("nowhere")


@pytest.mark.parametrize("command", [["inspect"], ["export", "-o", "a.onnx"]])
def test_every_command_names_the_runs_of_a_sweep(command: list[str], tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = Fast(FastConfig(width=8, residual_blocks=0))
    for run in "ab":
        save_model(Path("runs/sweep", run, "model.safetensors"), network, describe(network))
    with pytest.raises(
        FileNotFoundError, match="runs/sweep is not a run but holds 2: choose among"
    ):
        app([*command, "sweep"], result_action="return_value", exit_on_error=False)


def test_a_model_in_one_style_says_what_it_is_not(tmp_path: Path):
    styled = StyledNetwork(Fast(FastConfig(width=8, residual_blocks=0)), 2)
    path = tmp_path / "two.safetensors"
    save_model(path, styled, describe(styled, styles=[StyleInfo("sea"), StyleInfo("sky")]))
    whole = read_model(path)
    with pytest.raises(ValueError, match="has 2 styles: choose one"):
        _ = whole.stylizer
    with pytest.raises(ValueError, match="stylizes: use it with fst stylize"):
        _ = whole.upscaler
    alone = open_model(ModelRef(path, "sky"))
    assert alone.info.title == "sky"
    assert alone.in_style() is alone
    with pytest.raises(ValueError, match="has one style: leave out :sea"):
        alone.in_style("sea")
    with pytest.raises(ValueError, match="super-resolution: use it with fst upscale"):
        _ = open_model(find_model("upscale_x4")).stylizer
