"""What a command line may set, and that a path is a path, whatever Hydra would make of it."""

import os
import pickle
import random
from pathlib import Path, PureWindowsPath

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fst.cli import overrides
from fst.cli.hydra_command import HYDRA_FLAGS, arguments, as_hydra
from fst.cli.optimize import COMMAND as OPTIMIZE
from fst.cli.overrides import quote_path, split_paths
from fst.cli.train import COMMAND as TRAIN
from fst.cli.train_upscaler import COMMAND as TRAIN_UPSCALER
from fst.config import from_untrusted, literal
from fst.models.model_file import read_model

COMMANDS = {"train": TRAIN, "train-upscaler": TRAIN_UPSCALER, "optimize": OPTIMIZE}
ODD = (
    "price ${5}.jpg", "${oc.env:HOME}", "${seed}", "D:\\", "\\\\nas\\photos", "it's", "'quoted",
    "a=b", "[1]", "(x)", "\\${a}", "a\\", "#1 $y %s", "{a: 1}", "1e3", " blank ", "a\nb",
)  # fmt: skip
"""Names of files that mean something to Hydra, OmegaConf, YAML or a shell."""
ODDEST = "price ${5} ${oc.env:HOME} [1] (x)=it's {a: 1} D:\\"


def value_of(setting: str, command: str = "train") -> object:
    """What becomes of the last override that a setting is turned into."""
    parsed = OverridesParser.create().parse_override(as_hydra(setting, COMMANDS[command])[-1])
    return OmegaConf.to_container(OmegaConf.create({"x": parsed.value()}), resolve=True)["x"]


@pytest.mark.parametrize("path", ODD)
def test_a_path_is_taken_as_it_is_typed(path: str):
    assert value_of(f"data.path={path}") == path


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("train", "data.path"),
        ("train", "data.heldout_path"),
        ("train", "data.files"),
        ("train", "init"),
        ("train", "loss_network.weights"),
        ("train", "name"),
        ("train", "runs_dir"),
        ("train", "style.path"),
        ("train", "style.picture"),
        ("train", "style.title"),
        ("train", "any"),
        ("train-upscaler", "data.path"),
        ("train-upscaler", "init"),
        ("train-upscaler", "runs_dir"),
        ("optimize", "content"),
        ("optimize", "init"),
        ("optimize", "output"),
    ],
)
def test_so_is_every_path(command: str, key: str):
    assert value_of(f"{key}={ODDEST}", command) == ODDEST
    assert value_of(f"++{key}={ODDEST}", command) == ODDEST


def test_so_are_paths_in_lists_and_styles():
    assert value_of(f"styles=[{ODDEST},b.jpg]") == [ODDEST, "b.jpg"]
    assert value_of(f"style.pictures=[b.jpg,{ODDEST}]") == ["b.jpg", ODDEST]
    assert value_of(f"style=[{ODDEST},b.jpg]", "optimize") == [ODDEST, "b.jpg"]
    assert value_of(f"style={ODDEST}", "optimize") == [ODDEST]
    assert value_of(f"style={ODDEST}.jpg") == f"{ODDEST}.jpg"


def test_a_comma_in_an_existing_name_or_in_quotes_separates_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Munch, 1893, oil.jpg").touch()
    assert split_paths("a.jpg,Munch, 1893, oil.jpg,b.jpg") == [
        "a.jpg",
        "Munch, 1893, oil.jpg",
        "b.jpg",
    ]
    assert split_paths("'a,b.jpg',c.jpg") == ["a,b.jpg", "c.jpg"]
    assert split_paths("'a.jpg','it\\'s'") == ["a.jpg", "it's"]
    assert value_of("runs_dir=runs, new") == "runs, new"  # to be made: nothing to sweep over
    many = [f"{number}.jpg" for number in range(500)]
    assert split_paths(",".join(many)) == many


def test_any_text_survives_hydra_and_omegaconf():
    chance = random.Random(0)
    pieces = (
        "\\",
        "$",
        "{",
        "}",
        "'",
        '"',
        "a",
        " ",
        ",",
        "[",
        "(",
        ":",
        "=",
        "${",
        "${a}",
        "é",
        "\n",
    )
    for _ in range(100):
        text = "".join(chance.choices(pieces, k=chance.randrange(1, 9)))
        assert OmegaConf.create({"x": literal(text)}).x == text
        parsed = OverridesParser.create().parse_override(f"data.path={quote_path(text)}").value()
        assert OmegaConf.create({"x": parsed}).x == text


@pytest.mark.parametrize("given", ["C:\\", "D:\\", "\\\\nas\\photos", "\\\\nas\\photos\\2024", "~"])
def test_paths_of_windows(given: str, monkeypatch):
    class WindowsPath(PureWindowsPath):
        def expanduser(self):
            return self

    monkeypatch.setattr(overrides, "Path", WindowsPath)
    parsed = OverridesParser.create().parse_override(f"data.path={quote_path(given)}")
    assert parsed.value() == str(WindowsPath(given))


def test_a_tilde_is_the_home_folder_unless_there_is_no_such_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/you")
    assert value_of("data.path=~/photographs") == "/home/you/photographs"
    assert value_of("data.path=~nobody_of_that_name/x") == "~nobody_of_that_name/x"


def test_odd_names_train_and_resume_in_a_sweep(
    fst_here, tiny_overrides, style_picture, photos, tmp_path
):
    odd = "price ${5}, ${oc.env:HOME} D:\\ 'q'"
    (tmp_path / odd).symlink_to(photos)
    (tmp_path / f"{odd}.png").write_bytes(style_picture.read_bytes())
    replaced = ("style=", "data.path=", "runs_dir=", "name=", "training.images=")
    few = ("training.images=4", "data.heldout_images=0")
    tiny = [*(o for o in tiny_overrides if not o.startswith(replaced)), *few]
    given = [*tiny, f"style={odd}.png", f"data.path={odd}", f"runs_dir=runs of {odd}"]
    # The second run of the sweep is the first again: its own configuration is recognized.
    done = fst_here("train", "-m", *given, "name=x${seed}", "seed=2,2")
    assert done.returncode == 0, done.stderr
    assert "nothing left to train" in done.stdout
    run = tmp_path / f"runs of {odd}" / "x${seed}" / "seed=2"
    assert read_model(run / "model.safetensors").info.title == odd


def test_a_name_that_is_no_text_names_a_run(compose, style_picture, photos, tmp_path: Path):
    latin1 = os.fsdecode("Jürgen.png".encode("latin-1"))
    (tmp_path / latin1).write_bytes(style_picture.read_bytes())
    config = compose([f"style={tmp_path / latin1}", f"data.path={photos}"])
    assert config.style.picture == str(tmp_path / latin1)
    assert config.name == "J?rgen"


def test_a_value_from_a_file_refers_to_nothing():
    config = from_untrusted(
        "data/parquet", {"path": "price ${5}", "image_column": "${oc.env:HOME}"}
    )
    assert (config.path, config.image_column) == ("price ${5}", "${oc.env:HOME}")


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "flags",
    [
        ["--experimental-rerun", "evil.pickle"],
        ["--experimental-rerun=evil.pickle"],
        ["--exp", "evil.pickle"],
        ["--config-dir", "."],
        ["-cd", "."],
        ["--config-path=."],
        ["--config-name", "optimize"],
        ["--info"],
        ["--hydra-help"],
        ["--version"],
        ["--shell-completion"],
        ["--run"],
        ["--package", "x"],
        ["--resolve"],
        ["-m", "--cfg", "job"],
    ],
)
def test_hydra_s_other_flags_are_refused(command: str, flags: list[str], fst_here, tmp_path: Path):
    (tmp_path / "evil.pickle").write_bytes(pickle.dumps(Evil()))
    done = fst_here(command, *flags)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "executed").exists()


def test_flags_may_stand_anywhere(fst_here):
    flags = arguments(TRAIN, ["seed=1,2", "-m", "loss=moments", "style=vortices"])
    assert flags == ["--multirun", "seed=1,2", "loss=moments", "style=vortices"]
    shown = fst_here("train", "style=vortices", "--cfg", "job", "seed=7", "--resolve")
    assert "seed: 7\n" in shown.stdout
    assert "packaged" not in shown.stdout


def test_each_flag_of_hydra_is_taken_or_named_as_one_of_its_own():
    taken = {"--help", "-h", "--multirun", "-m", "--cfg", "-c", "--resolve"}
    taken |= {"-cd", "-cn", "-cp"}  # as -c with a value that it does not have
    assert set(get_args_parser()._option_string_actions) == taken | set(HYDRA_FLAGS)
    for flag in HYDRA_FLAGS:
        with pytest.raises(ValueError, match=f"^Hydra's {flag} is not taken"):
            arguments(TRAIN, [flag, "x"])


VALUES = ("null", "1", "[1]", "[a]", "", "{a:1}", "true", "nan", "abc")


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize(("name", "command"), [(n, c) for n, c in COMMANDS.items()])
def test_a_group_is_one_of_its_choices(name: str, command, value: str):
    for group in command.groups:
        key = group.rpartition("/")[2]
        if key != "style":
            with pytest.raises(ValueError, match=f"^{key}=.* is unknown; choose one of "):
                as_hydra(f"{key}={value}", command)
    if name != "optimize":
        with pytest.raises(ValueError, match="^training is a group of settings: set one of them"):
            as_hydra(f"++training={value}", command)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hydra.callbacks={x:1}", "hydra.callbacks cannot be set: of Hydra's own settings there"),
        (
            "+hydra.callbacks.x._target_=os.abort",
            "cannot be set: of Hydra's own settings there are",
        ),
        ("hydra=null", "hydra cannot be set"),
        ("network=glob(*)", "name the values of a sweep, separated by commas"),
        ("seed=interval(0,1)", "name the values of a sweep, separated by commas"),
        ("hydra/sweeper=basic", "hydra/sweeper cannot be set"),
        ("hydra/launcher=null", "hydra/launcher=null does not name a launcher"),
        ("picture_weights=1", "picture_weights is unknown"),
        ("network@_global_=fast", "network@_global_ is unknown"),
        ("upscaling/network@network=null", "upscaling/network@network is unknown"),
        ("data.path.x=1", "data.path.x is unknown: did you mean data.path"),
        ("~training", "~training: settings cannot be removed"),
        ("seed", "cannot read seed as key=value"),
        ("=1", "cannot read =1 as key=value"),
        ("", "cannot read '' as key=value"),
        ("seed=" + "9" * 5000, "seed=9{75}... is a number of more than 300 digits"),
        ("loss.style_weight=" + "9" * 400, "is a number of more than 300 digits"),
        ("loss.style_layers=" + "[" * 300, "cannot read loss.style_layers="),
        ("loss.style_layers=" + "[" * 300 + "]" * 300, "is nested too deeply"),
    ],
)
def test_what_cannot_be_set_is_refused(setting: str, message: str):
    with pytest.raises(ValueError, match=message.replace("+h", r"\+h")):
        as_hydra(setting, TRAIN)


@pytest.mark.parametrize("key", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=8"])
def test_launchers_can_be_set(key: str):
    assert as_hydra(key, TRAIN) == [key]
    assert as_hydra("+hydra.launcher.additional_parameters.x=1", TRAIN)[0].startswith("+hydra")


@pytest.mark.parametrize(
    "override",
    [
        "data.crop_px=5000", "data.heldout_images=1000000", "data.heldout_px=5000",
        "data.margin_px=2000", "data.workers=99999999999999999999", "loss.content_weight=1e300",
        "loss.style_layer_weights=[1e300,1,1]", "loss.style_levels=99999999999999999999",
        "loss.style_tiles=5000", "loss.style_weight=inf", "loss.tv_weight=1e300",
        "network.coarse_blocks=100000", "network.full_width=5000", "network.width=99999999999999",
        "optimizer.learning_rate=1e300", "optimizer.learning_rate=inf", "style.size_px=5000",
        "training.batch_size=100000", "training.images=99999999999999999999999999",
    ],
)  # fmt: skip
def test_a_number_too_large_to_train_with_is_refused(compose, tiny_overrides, override: str):
    key = override.partition("=")[0]
    with pytest.raises(
        ValueError, match=rf"^{key}=.* must (be at most|hold numbers from 0 to) [\d,]+$"
    ):
        compose([*tiny_overrides, override])


def test_the_largest_weights_still_train(compose, tiny_overrides):
    compose([*tiny_overrides, "loss.style_weight=1e10", "optimizer.clip_norm=inf"])
