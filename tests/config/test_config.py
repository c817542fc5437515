"""The configuration: what is composed, and what is refused before anything is loaded."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fst.cli.overrides import choices, sweep_name
from fst.cli.train import expand
from fst.config import SCHEMAS, FastConfig, JohnsonConfig

ROOT = Path(__file__).parents[2]


def test_every_schema_is_a_choice_of_its_group(compose, tiny_overrides):
    for path in SCHEMAS:
        group, _, name = path.rpartition("/")
        assert name in choices(group) if group else (ROOT / "conf" / f"{path}.yaml").is_file()
    assert compose([*tiny_overrides]).network == FastConfig(
        width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1
    )
    of_both = [override for override in tiny_overrides if "coarse" not in override]
    johnson = compose([*of_both, "network=johnson", "network.norm=batch"])
    assert johnson.network == JohnsonConfig(width=8, residual_blocks=1, norm="batch")
    assert johnson.loss.name == "moments"
    assert compose([*tiny_overrides, "loss=johnson"]).loss.style_layers[-1] == "relu4_3"


@pytest.mark.parametrize("experiment", [f.stem for f in (ROOT / "conf/experiment").glob("*.yaml")])
def test_experiments_compose(compose, photos, style_picture, experiment: str):
    compose([f"style={style_picture}", f"data.path={photos}", f"experiment={experiment}"])


def test_a_style_is_a_picture_or_a_name(tmp_path: Path, monkeypatch):
    assert expand("style=picture") == ["style=picture"]
    assert expand("style.size_px=3") == ["style.size_px=3"]
    assert expand("style=a.jpg") == ["style=picture", "style.picture='a.jpg'"]
    assert expand("style=a.jpg,b.jpg") == ["style=picture", "style.picture='a.jpg','b.jpg'"]
    assert expand("style=picture,vortices") == ["style=picture,vortices"]
    assert expand("style=[a.jpg,b.jpg]") == ["style=works", "style.works=['a.jpg','b.jpg']"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monet").mkdir()
    assert expand("style=monet/") == ["style=works", "style.works=['monet']"]
    assert expand("style=monet,./monet") == ["style=works", "style.works=['monet'],['monet']"]
    with pytest.raises(ValueError, match=r"mixes pictures and folders; .* style=\[monet,a.jpg\]$"):
        expand("style=monet,a.jpg")
    (tmp_path / "Munch's, 1893.jpg").touch()
    assert expand("style=Munch's, 1893.jpg")[1] == r"style.picture='Munch\'s, 1893.jpg'"
    with pytest.raises(ValueError, match="mixes names and pictures"):
        expand("style=vortices,a.jpg")
    with pytest.raises(
        FileNotFoundError, match="neither a picture nor a folder nor one of.*vortices"
    ):
        expand("style=vortexes")


def test_odd_file_names_reach_the_configuration(compose, style_picture, photos, tmp_path: Path):
    odd = tmp_path / "Munch's, (1893)=[x] $y.png"
    odd.write_bytes(style_picture.read_bytes())
    folder = tmp_path / "Jürgen's photographs (1), new=x"
    folder.symlink_to(photos)
    config = compose([f"style={odd}", f"data.path={folder}"])
    assert config.style.picture == str(odd)
    assert config.data.path == str(folder)
    assert compose([f"style={odd}", f"data.path={folder}", "name=1e3"]).name == "1e3"
    assert config.run_dir == Path("runs") / odd.stem


def test_the_runs_of_a_sweep_are_named_by_what_is_swept():
    fixed = ["style=picture", "style.picture='a.jpg','b.jpg'", "experiment=quick"]
    given = ["-m", *fixed, "loss.style_weight=5,10", "data.path='x/one','x/two'"]
    task = ["style=picture", "style.picture=a.jpg", "experiment=quick"]
    swept = ["loss.style_weight=5", "data.path=x/one"]
    assert sweep_name("a", given, [*task, *swept]) == "a/loss.style_weight=5+data.path=x_one"
    assert sweep_name("a", ["-m", *fixed], task) == "a"
    folders = ["-m", "style=works", "style.works=['x/monet'],['x/klee']"]
    assert sweep_name("monet", folders, ["style=works", "style.works=['x/monet']"]) == "monet"
    named = ["-m", *fixed, "name=n"]
    assert sweep_name("n", named, [*task, "name=n"]) == "n/style.picture=a.jpg"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network.widht=3", "network.widht is unknown: did you mean network.width?"),
        ("network.norm=batch", "network.norm is unknown: it exists only with network=johnson"),
        ("data.files=a", "data.files is unknown: it exists only with data=coco"),
        ("loss.divide=2", "loss.divide is unknown: `fst train ... --cfg job` shows all keys"),
        ("+extra=1", "extra is unknown"),
        ("+network.foo=1", "network.foo is unknown"),
        ("network.width=abc", "network.width: Value 'abc'"),
        ("network.width=-1", "network.width=-1 must be at least"),
        ("network=vast", "network=vast is unknown; choose one of fast, johnson"),
        ("experiment=qick", "experiment=qick is unknown; choose one of paper, quick, steady"),
        ("loss.name=johnson", "loss.name=johnson cannot be set: choose it with loss=johnson"),
        ("data.path=", "data.path= is empty"),
        ("loss.style_weight=1,2", "a list of values is a sweep: add -m"),
        ("loss.style_layer_weights=[nan,1,1]", "loss.style_layer_weights=[nan"),
        ("name=../elsewhere", "name=../elsewhere must name a folder inside"),
        (
            "loss.style_layers=[relu9_9]",
            "loss.style_layers=relu9_9 is unknown; choose one of relu1_1",
        ),
        ("style=missing.jpg", "style.picture=missing.jpg does not exist"),
        ("data.path=missing", "data.path=missing does not exist"),
        ("loss_network.weights=missing.pth", "loss_network.weights=missing.pth does not exist"),
        ("data.crop_px=-5", "data.crop_px=-5 must be at least"),
        ("training.batch_size=0", "training.batch_size=0 must be at least 1"),
        ("training.precision=fp8", "training.precision=fp8 is unknown; choose one of auto"),
        ("optimizer.learning_rate=0", "optimizer.learning_rate=0.0 must be above 0"),
        ("loss.style_levels=9", "loss.style_levels=9"),
        ("loss.temporal_weight=-1", "loss.temporal_weight=-1.0 must be at least 0"),
        ("init=", "init= is empty"),
        ("loss.style_layers=[relu1_2", "cannot read loss.style_layers=[relu1_2 as key=value"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    override: str, message: str, fst_here, tiny_overrides, tmp_path: Path
):
    done = fst_here("train", *tiny_overrides, override)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("fst train: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_the_temporal_term_needs_crops_that_can_move(compose, tiny_overrides):
    small = ["style.size_px=32", "loss.temporal_weight=1", "loss.style_levels=2"]
    compose([*tiny_overrides, *small, "data.crop_px=32"])
    with pytest.raises(ValueError, match="data.crop_px=28 is too small .*: use at least 32"):
        compose([*tiny_overrides, *small, "data.crop_px=28"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss=johnson", "loss=johnson compares at relu4_3 and divides by the number of VGG16's"),
        ("loss.content_layer=relu3_2", "compares at relu3_2, but loss_network=slim has only relu1"),
        (
            "loss_network.weights=a.pth",
            "loss_network.weights is unknown: it exists only with loss_network=vgg16",
        ),
    ],
)
def test_layers_that_the_small_loss_network_lacks_are_refused(
    override: str, message: str, fst_here, style_picture, photos
):
    given = [f"style={style_picture}", f"data.path={photos}", "loss_network=slim"]
    done = fst_here("train", *given, override)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("asked", [["--help"], ["-h"], ["--cfg", "job"], ["-c", "job"]])
@pytest.mark.parametrize("command", ["train", "optimize"])
def test_help_and_settings_are_shown_without_a_style(fst_here, asked, command):
    done = fst_here(command, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  style_weight: " in done.stdout  # a setting of the loss
    assert "??? is required" in done.stdout or "cfg" in asked[0] or asked[0] == "-c"
    if "h" in asked[0]:
        assert f"fst {command} " in done.stdout  # an example
        assert "loss_network  slim, vgg16" in done.stdout
    assert "schema" not in done.stdout


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--style_weight", "3"], "--style_weight 3 is not a flag: .* here loss.style_weight=3"),
        (["--style-weight=3"], "--style-weight=3 is not a flag: .* here loss.style_weight=3"),
        (["--style", "a.jpg"], "--style a.jpg is not a flag: .* here style=a.jpg"),
        (["--style", ""], "--style is not a flag"),
        (["--images"], "--images is not a flag: .* here training.images=VALUE"),
        (["--frobnicate"], "--frobnicate is not a flag: .* here key=value"),
        (["--cfg"], "expected one argument; `fst train --help` shows how settings are written"),
    ],
)
def test_a_setting_written_as_a_flag_shows_how_it_is_written(
    given: list[str], message: str, fst_here
):
    done = fst_here("train", *given)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert done.stderr.count("\n") == 1


def test_a_sweep_names_the_run_that_starts(fst_here, tiny_overrides):
    short = ["training.images=4", "data.heldout_images=0", "loss.style_weight=1,2"]
    done = fst_here("train", "-m", *tiny_overrides, *short)
    assert done.returncode == 0, done.stderr
    assert "run 1 of 2: run/loss.style_weight=1\n" in done.stdout
    assert "run 2 of 2: run/loss.style_weight=2\n" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP shows its own settings")
def test_threads_sleep_while_they_wait(fst_command, tiny_overrides, tmp_path: Path, monkeypatch):
    # A later setting would be too late: OpenMP reads it when torch is imported.
    monkeypatch.setenv("OMP_DISPLAY_ENV", "true")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    short = ["training.images=1", "training.batch_size=1", "data.heldout_images=0"]
    command = [*fst_command, "train", *tiny_overrides, *short]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


def test_what_is_required_is_named(fst_here, style_picture):
    without_style = fst_here("train", "data.path=.")
    assert "style is required" in without_style.stderr
    without_data = fst_here("train", f"style={style_picture}")
    assert "data.path is required" in without_data.stderr
    assert without_style.returncode == without_data.returncode == 2
