"""Comparing models: the sheet, the table, and the notes on what is not comparable."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

import fst
from fst.cli.app import main
from fst.config import FastConfig
from fst.data.heldout import heldout_of, read_squares
from fst.errors import UserError
from fst.measuring.comparison import Comparison, cautions, compare, differing_settings
from fst.measuring.comparison_report import markdown, write_comparison
from fst.measuring.subjects import load_models, run_names
from fst.models.model_file import describe, read_model, save_model
from fst.models.model_info import ModelInfo, StyleInfo
from fst.models.model_ref import ModelRef
from fst.models.runtime import EXPORTED
from fst.networks.cost import count_parameters
from fst.networks.fast import Fast
from fst.networks.styled import StyledNetwork
from fst.pictures.sheet import GAP_PX
from fst.training.registry import train

JUDGED = ("content", "style", "total_variation", "total")


def config_of(**values: object) -> dict[str, object]:
    """The training configuration of a model file, as far as it is compared."""
    data = {"kind": "folder", "path": "photos", "workers": 1}
    heldout = {"heldout_path": None, "heldout_images": 8, "heldout_px": 256}
    config: dict[str, object] = {
        "name": "run",
        "seed": 0,
        "data": data | heldout,
        "loss": {"style_weight": 5.0, "style_layers": ["relu1_2"]},
        "loss_network": {"name": "vgg16", "weights": "here.pth"},
        "style": {"picture": "stripes.png", "title": "stripes", "size_px": 256},
    }
    for dotted, value in values.items():
        group, _, key = dotted.partition("__")
        if key:
            config[group] = {**config[group], key: value}
        else:
            config[group] = value
    return config


def info_of(loss_network: str = "vgg16", **values: object) -> ModelInfo:
    network = {"width": 8, "residual_blocks": 1}
    losses = dict.fromkeys(JUDGED, 1.0)
    return ModelInfo(
        "fast",
        network,
        losses=losses,
        loss_network=loss_network,
        training_config=config_of(**values),
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model file without a training configuration."""
    network = Fast(FastConfig(width=8, residual_blocks=1))
    save_model(tmp_path / "bare.safetensors", network, describe(network, title="bare"))
    return tmp_path / "bare.safetensors"


@pytest.fixture(scope="session")
def trained_sweep(compose, tiny_overrides_in, make_once) -> Path:
    """The folder of two runs that differ in their style weight, as a sweep leaves them."""

    def make(folder: Path) -> None:
        for weight, every in ((2, 8), (7, 12)):
            overrides = [
                *tiny_overrides_in(folder.parent),
                f"name='{folder.name}/loss.style_weight={weight}'",
                f"loss.style_weight={weight}",
                f"training.save_every={every}",  # does not affect the model
            ]
            train(compose(overrides))

    return make_once("sweep", make)


@pytest.fixture
def sweep(trained_sweep: Path, tmp_path: Path) -> list[Path]:
    """Copies of the two runs."""
    shutil.copytree(trained_sweep, tmp_path / "runs" / "sweep")
    return sorted((tmp_path / "runs" / "sweep").iterdir())


def cells(page: str) -> list[dict[str, str]]:
    """Return all columns of the page's table but the first, by the names of its rows."""
    lines = [line[2:-2].split(" | ") for line in page.splitlines() if line.startswith("| ")]
    names, *columns = zip(*lines, strict=True)
    return [dict(zip(names, column, strict=True)) for column in columns]


def test_a_sweep_is_compared_on_its_own_held_out_photographs(sweep, photos, tmp_path: Path):
    (sweep[0].parent / "multirun.yaml").write_text("hydra: {}\n")
    given = sorted(map(str, sweep[0].parent.iterdir()))
    compared = compare(given, images=2, size=40, device="cpu")
    assert [row.name for row in compared.rows] == ["style_weight=2", "style_weight=7"]
    for folder, row in zip(sweep, compared.rows, strict=True):
        read = read_model(folder / "model.safetensors")
        network, info = read.network, read.info
        assert row.model == str(folder / "model.safetensors")
        assert row.settings == {"loss.style_weight": info.training_config["loss"]["style_weight"]}
        assert row.losses == {f"heldout/{name}": value for name, value in info.losses.items()}
        assert row.losses.keys() > {f"heldout/{name}" for name in JUDGED}
        assert row.loss_network == "vgg16"
        assert row.seen_images == 24
        last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        assert row.training_seconds == json.loads(last)["seconds"]
        assert row.parameters == count_parameters(network)
        assert row.megabytes == (folder / "model.safetensors").stat().st_size / 1e6
        assert row.milliseconds > 0
        assert row.pictures_per_second == pytest.approx(1000 / row.milliseconds)
    skipped = sweep[0].parent / "multirun.yaml"
    assert compared.notes == [f"Skipped 1 path without a model: {skipped}."]

    # Each picture is in its place and is the model's result for that photograph.
    config = read_model(sweep[0] / "model.safetensors").info.training_config
    pictures, _ = heldout_of(config, 2, 40)
    assert len(pictures) == 2
    height = compared.sheet.shape[2] - 2 * (40 + GAP_PX)
    for i, picture in enumerate(pictures):
        content = picture[None] / 255
        expected = [content, *(fst.load(folder, "cpu")(content) for folder in sweep)]
        for j, cell in enumerate(expected):
            top, left = height + i * (40 + GAP_PX), GAP_PX + j * (40 + GAP_PX)
            found = compared.sheet[..., top : top + 40, left : left + 40]
            torch.testing.assert_close(found, cell)
    assert compared.sheet.shape[3] == 3 * (40 + GAP_PX) + GAP_PX


def test_the_files_contain_what_was_found(sweep, photos, tmp_path: Path):
    compared = compare([*map(str, sweep), "starry_night"], photos, 1, 32, "cpu")
    out = tmp_path / "new" / "out"
    written = write_comparison(out, compared, "fst compare runs")
    assert [path.name for path in written] == [
        "comparison.jpg",
        "comparison.md",
        "comparison.json",
    ]
    shown = fst.read_image(out / "comparison.jpg")
    assert shown.shape == compared.sheet.shape
    assert (shown - compared.sheet).abs().mean() < 0.02
    assert (out / "comparison.md").read_text() == markdown(compared, "fst compare runs")
    rows = cells((out / "comparison.md").read_text())
    values = json.loads((out / "comparison.json").read_text())
    for row, line, entry in zip(compared.rows, rows, values["runs"], strict=True):
        expected = dataclasses.asdict(row)
        assert entry == expected | {"pictures_per_second": row.pictures_per_second}
        assert line["run"] == row.name
        assert json.loads(line["loss.style_weight"]) == row.settings["loss.style_weight"]
        for name in JUDGED:
            assert float(line[f"heldout/{name}"]) == pytest.approx(
                row.losses[f"heldout/{name}"], abs=5e-4
            )
        assert int(line["parameters"].replace(",", "")) == row.parameters
        assert float(line["ms per picture"]) == pytest.approx(row.milliseconds, abs=0.05)
    assert rows[0]["training time"] == f"{compared.rows[0].training_seconds:.0f} s"
    assert rows[2]["run"] == "starry_night"
    assert rows[2]["training time"] == ""  # a model file alone does not record it
    assert values["notes"] == compared.notes


def test_a_report_takes_names_of_any_characters(sweep, photos: Path, tmp_path: Path):
    compared = compare([str(sweep[0])], photos, 1, 32, "cpu")
    compared.notes.append("Skipped caf\udce9 and \u017c.")
    write_comparison(tmp_path, compared, "fst compare")
    page = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert page.endswith("\nSkipped caf\\xe9 and \u017c.\n")


def test_tensorboard_shows_only_the_last_comparison(model, photos, tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "out"
    out.mkdir()
    (out / "events.out.tfevents.1.of_a_run").write_bytes(b"")
    for size in (32, 48):
        compared = compare([str(model)], photos, 1, size, "cpu")
        write_comparison(out, compared, f"--size {size}")
    assert len(list(out.glob("events.out.tfevents.*.comparison"))) == 1
    assert (out / "events.out.tfevents.1.of_a_run").exists()
    assert len(list(out.iterdir())) == 5
    (events_file,) = out.glob("events.out.tfevents.*.comparison")
    events = EventAccumulator(str(events_file)).Reload()
    (sheet,) = events.Images("comparison/sheet")
    assert (1, 3, sheet.height, sheet.width) == compared.sheet.shape
    (table,) = events.Tensors("comparison/table/text_summary")
    assert table.tensor_proto.string_val[0].decode() == markdown(compared, "--size 48")


def test_nothing_is_invented_for_a_foreign_model(model, foreign_model, photos):
    compared = compare([str(foreign_model), str(model)], photos, 1, 32, "cpu")
    row = compared.rows[0]
    assert row.name == "mosaic"
    assert row.settings["network.name"] == "johnson"
    assert (row.losses, row.loss_network, row.seen_images) == ({}, "", None)
    assert row.training_seconds is None
    assert row.parameters == count_parameters(read_model(foreign_model).network)
    line = cells(markdown(compared, ""))[0]
    assert not any(key.startswith("heldout/") for key in line)  # neither model has losses
    assert line["images seen"] == line["training time"] == line["loss network"] == ""


def test_terms_are_taken_from_the_models_by_name(model, photos, tmp_path: Path):
    network = Fast(FastConfig(width=8, residual_blocks=1))
    losses = {"total": 3.0, "content": 1.0, "edges": 2.0, "edges/relu1_2": 0.5}
    save_model(tmp_path / "new.safetensors", network, describe(network, losses=losses))
    compared = compare([str(model), str(tmp_path / "new.safetensors")], photos, 1, 32, "cpu")
    bare, new = cells(markdown(compared, ""))
    shown = [key for key in new if key.startswith("heldout/")]
    assert shown == ["heldout/content", "heldout/edges", "heldout/total"]
    assert [new[key] for key in shown] == ["1.000", "2.000", "3.000"]
    assert [bare[key] for key in shown] == ["", "", ""]


def test_model_files_choose_no_data(compose, tiny_overrides, photos, tmp_path, monkeypatch):
    """Data sets can execute code or be fetched with the user's token: nothing is loaded."""
    import datasets

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("loaded a data set that a model file names")

    monkeypatch.setattr(datasets, "load_dataset", forbidden)
    network = Fast(FastConfig(width=8, residual_blocks=1))
    for kind in ("coco", "parquet"):
        training = config_of(data__kind=kind, data__path="evil/builder", data__files="train")
        info = describe(network, training_config=training | {"runs_dir": "runs"})
        save_model(tmp_path / f"{kind}.safetensors", network, info)
        run = tmp_path / kind  # even in what looks like a run folder
        run.mkdir()
        save_model(run / "model.safetensors", network, info)
        (run / "config.yaml").write_text("name: run\n")
        for given in (tmp_path / f"{kind}.safetensors", run):
            with pytest.raises(FileNotFoundError, match="give --photographs DIR"):
                compare([str(given)], None, 1, 32, "cpu")


def test_folders_are_opened_only_for_a_run(sweep, photos, tmp_path: Path):
    assert len(compare([str(sweep[0])], None, 1, 32, "cpu").rows) == 1
    shutil.copy(sweep[0] / "model.safetensors", tmp_path / "copied.safetensors")
    with pytest.raises(FileNotFoundError, match="no run folder among the models"):
        compare([str(tmp_path / "copied.safetensors")], None, 1, 32, "cpu")


def test_a_pt2_file_is_run_only_when_named(model, photos, tmp_path: Path, monkeypatch):
    opened: list[str] = []

    def open_package(path: Path, *_: object) -> None:
        opened.append(path.name)
        raise UserError("opened")

    monkeypatch.setitem(EXPORTED, ".pt2", open_package)
    package = tmp_path / "swept.pt2"
    package.write_bytes(b"native code")
    (note,) = compare([str(model), str(package)], photos, 1, 32, "cpu").notes
    assert note == (
        "Skipped 1 .pt2 file, because these execute native code (add one with --pt2 FILE): "
        f"{package}."
    )
    with pytest.raises(FileNotFoundError, match="add one with --pt2 FILE"):
        compare([str(package)], photos, 1, 32, "cpu")
    assert opened == []
    with pytest.raises(UserError, match="opened"):
        compare([str(model)], photos, 1, 32, "cpu", packages=[package])
    assert opened == ["swept.pt2"]
    with pytest.raises(UserError, match=r"bare\.safetensors is not a \.pt2 file"):
        compare([], photos, 1, 32, "cpu", packages=[model])


def test_an_exported_model_is_compared_too_with_its_engine(
    tiny_model: Path, tiny_onnx: Path, photos: Path
):
    compared = compare([str(tiny_model), str(tiny_onnx)], photos, 1, 32, "cpu")
    lines = cells(markdown(compared, ""))
    assert [line["run"] for line in lines] == ["tiny.safetensors", "tiny.onnx"]
    assert lines[1]["engine"].startswith("onnxruntime")
    assert lines[1]["parameters"] == ""
    one, other = compared.sheet[..., -36:-4, 40:72], compared.sheet[..., -36:-4, 76:108]
    assert (one - other).abs().max() < 0.05
    assert (one - compared.sheet[..., -36:-4, 4:36]).abs().max() > 0.1


def test_a_model_given_twice_is_compared_once(model, photos):
    again = model.parent / "." / ".." / model.parent.name / model.name
    assert len(compare([str(model), str(again)], photos, 1, 32, "cpu").rows) == 1


def test_unreadable_photographs_are_counted_and_named(model, photos, tmp_path: Path):
    shutil.copytree(photos, tmp_path / "mixed")
    (tmp_path / "mixed" / "000.jpg").write_text("no picture")
    compared = compare([str(model)], tmp_path / "mixed", 2, 32, "cpu")
    (note,) = compared.notes
    assert note.startswith("Skipped 1 unreadable photograph: ")
    assert "000.jpg" in note
    pictures, _ = read_squares(photos, 1, 32)
    found = compared.sheet[0, :, -2 * 36 : -36 - GAP_PX, GAP_PX : GAP_PX + 32]
    torch.testing.assert_close(found, pictures[0] / 255)


def test_only_differing_settings_are_shown():
    settings = differing_settings(
        [
            info_of(loss__style_weight=2.0),
            info_of(name="b", data__path="elsewhere", data__workers=7, loss_network__weights="b"),
            info_of(loss__style_layers=["relu2_2"], seed=3),
        ]
    )
    assert settings == [
        {"loss.style_layers": ["relu1_2"], "loss.style_weight": 2.0, "seed": 0},
        {"loss.style_layers": ["relu1_2"], "loss.style_weight": 5.0, "seed": 0},
        {"loss.style_layers": ["relu2_2"], "loss.style_weight": 5.0, "seed": 3},
    ]


def test_a_setting_that_only_one_run_has_is_not_a_difference():
    johnson = {"width": 32, "residual_blocks": 5, "norm": "instance"}
    other = ModelInfo("johnson", johnson)
    assert differing_settings([info_of(), other]) == [
        {"network.name": "fast", "network.residual_blocks": 1, "network.width": 8},
        {"network.name": "johnson", "network.residual_blocks": 5, "network.width": 32},
    ]


def test_incomparable_losses_are_noted():
    assert cautions([info_of(), info_of(loss__style_weight=1.0, loss_network__weights="b")]) == []
    (networks,) = cautions([info_of(), info_of("slim"), info_of("slim")])
    assert "different loss networks (slim, vgg16)" in networks
    (pictures,) = cautions([info_of(), info_of(seed=1, data__heldout_px=128)])
    assert "different held-out pictures (data.heldout_px, seed)" in pictures
    (styles,) = cautions([info_of(), info_of(style__title="waves", style__picture="waves.png")])
    assert "Different styles (style.title)" in styles
    # Pictures of a separate folder depend neither on the seed nor on the training data.
    own = {"data__heldout_path": "val"}
    assert cautions([info_of(**own), info_of(**own, seed=1, data__path="others")]) == []
    # A model without losses needs no note.
    foreign = ModelInfo("johnson", {})
    assert cautions([info_of(), foreign]) == []


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["runs/a/model.safetensors", "runs/b/model.safetensors"], ["a", "b"]),
        (["one/a/model.safetensors", "two/a/model.safetensors", "b.pth"], ["one/a", "two/a", "b"]),
        (["x/a.onnx", "x/a/model.safetensors"], ["a.onnx", "a"]),
        (["p/loss.w=2.5/model.safetensors", "p/loss.w=2/model.safetensors"], ["w=2.5", "w=2"]),
        (
            [
                f"p/loss.w={w}+seed={s}+data.c=1/model.safetensors"
                for w in (1, "1e+5")
                for s in (0, 1)
            ],
            ["w=1+seed=0", "w=1+seed=1", "w=1e+5+seed=0", "w=1e+5+seed=1"],
        ),
        # Without groups both would have one name; without common settings, one would have none.
        (["p/a.w=1/model.safetensors", "p/b.w=1/model.safetensors"], ["a.w=1", "b.w=1"]),
        (["p/a.w=1/model.safetensors", "p/a.w=1+c=2/model.safetensors"], ["a.w=1", "a.w=1+c=2"]),
        (["p/a.w=1/model.safetensors"], ["w=1"]),
    ],
)
def test_names_are_the_shortest_that_distinguish_runs(models: list[str], names: list[str]):
    assert run_names([ModelRef(Path("/home", model)) for model in models]) == names


def test_many_differing_settings_are_truncated_and_listed(model, photos):
    (row,) = compare([str(model)], photos, 1, 32, "cpu").rows
    rows = [
        dataclasses.replace(row, name=f"a|{i}", settings={f"loss.k{k:02}": i for k in range(11)})
        for i in range(2)
    ]
    page = markdown(Comparison(rows, torch.ones(1, 3, 4, 4), 32, "here", []), "")
    assert r"| run | a\|0 | a\|1 |" in page
    assert "| loss.k07 | 0 | 1 |" in page
    assert "| loss.k08 |" not in page
    assert "3 more settings differ: loss.k08, loss.k09, loss.k10." in page


def test_training_time_is_that_of_the_saved_model(sweep):
    metrics = sweep[0] / "metrics.jsonl"
    expected = json.loads(metrics.read_text().splitlines()[-1])["seconds"]
    with metrics.open("a") as file:
        file.write(json.dumps({"seen_images": 28, "seconds": expected + 100}) + "\n")
        file.write('{"seen_im')  # cut off
    assert compare([str(sweep[0])], images=1, size=32).rows[0].training_seconds == expected
    metrics.unlink()
    assert compare([str(sweep[0])], images=1, size=32).rows[0].training_seconds is None


@pytest.mark.filterwarnings("ignore:Cyclopts application invoked")
def test_invalid_arguments_give_one_line_and_no_files(model, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.yaml").write_text("a: 1\n")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(model.read_bytes()[:300])
    network = Fast(FastConfig(width=8, residual_blocks=1))
    config = config_of(data__path="data", data__workers=0)
    gone = describe(network, training_config=config | {"runs_dir": "runs"})
    save_model(tmp_path / "gone" / "model.safetensors", network, gone)
    (tmp_path / "gone" / "config.yaml").write_text("name: gone\n")
    before = sorted(tmp_path.rglob("*"))
    for arguments, message in [
        ([], "no model given"),
        (["nowhere"], "no model nowhere"),
        ([model, "nowhere"], "no model nowhere"),
        (["empty"], "no model in empty"),
        (["empty", "notes.yaml"], "no model in empty, notes.yaml"),
        ([cut, model], "cut.safetensors is damaged"),
        ([model], "no run folder among the models has held-out photographs: give --photographs"),
        (["gone"], "cannot load gone's held-out photographs (data.path=data does not exist"),
        ([model, "--photographs", "empty"], "empty holds no pictures"),
        ([model, "--photographs", "missing"], "missing is not a folder"),
        ([model, "--photographs", photos, "--images", "0"], "images=0 must be at least 1"),
        ([model, "--photographs", photos, "--size", "8"], "size=8 must be at least 32"),
        ([model, "--photographs", photos, "--size", "40000"], "too large for a JPEG"),
        ([model, "--photographs", photos, "--device", "banana"], "device 'banana'"),
        ([model, "--photographs", photos, "-o", "notes.yaml"], "-o notes.yaml is a file, but"),
    ]:
        monkeypatch.setattr("sys.argv", ["fst", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == 2, arguments
        assert message in said.err, arguments
        assert said.err.startswith("fst: ")
        assert said.err.count("\n") == 1, said.err
        assert not said.out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_prints_the_table_and_the_files(fst_here, model, photos, tmp_path: Path):
    done = fst_here(
        "compare", "bare.safetensors", "--photographs", photos, "--images", 1, "--size", 32
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comparison" / "comparison.md").read_text() in done.stdout
    assert done.stdout.splitlines()[-3:] == [
        f"comparison/comparison.{suffix}" for suffix in ("jpg", "md", "json")
    ]
    assert "fst compare bare.safetensors" in done.stdout


def test_a_model_of_several_styles_needs_a_choice(sweep: list[Path], tmp_path: Path):
    network = StyledNetwork(Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1)), 2)
    several = tmp_path / "several.safetensors"
    save_model(several, network, describe(network, styles=[StyleInfo("sea"), StyleInfo("sky")]))
    models = load_models(
        [str(sweep[0]), str(several), f"{several}:sky", f"{several}:sea"], [], "cpu"
    )
    assert len(models.stylizers) == 3
    assert [name.rpartition(":")[2] for name in models.names[1:]] == ["sky", "sea"]
    assert models.notes == [f"Skipped 1 model of several styles (choose MODEL:STYLE): {several}."]
    with pytest.raises(FileNotFoundError, match="of several styles"):
        load_models([str(several)], [], "cpu")


def test_a_misspelt_style_is_not_taken_for_a_path_without_a_model(tmp_path: Path):
    network = StyledNetwork(Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1)), 2)
    several = tmp_path / "several.safetensors"
    save_model(several, network, describe(network, styles=[StyleInfo("sea"), StyleInfo("sky")]))
    with pytest.raises(ValueError, match="has no style se: did you mean sea"):
        load_models([f"{several}:sky", f"{several}:se"], [], "cpu")
    assert run_names([ModelRef(several, "sea=0.7,sky=0.3"), ModelRef(Path("a/b.onnx"))]) == [
        "several:sea=0.7,sky=0.3",
        "b",
    ]
    paintings = [ModelRef(several, f"/home/me/{name}.jpg") for name in ("sea", "sky")]
    assert run_names(paintings) == ["sea.jpg", "sky.jpg"]
