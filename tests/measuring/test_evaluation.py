"""Evaluation: its figures are those of training, curves are correct, every file is written."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fst
from fst.config import FastConfig, TrainConfig
from fst.data.heldout import read_squares
from fst.errors import UserError
from fst.gatys.optimization import descend
from fst.losses.vgg import NoWeightsError, load_vgg16
from fst.measuring import curves as curve_store
from fst.measuring import evaluation
from fst.measuring.artefacts import Artefacts, measure_artefacts
from fst.measuring.curves import Curve
from fst.measuring.evaluation import Extent, Report, Speed, evaluate
from fst.measuring.evaluation_report import markdown, sentence, write_report
from fst.measuring.quality import measure_quality
from fst.models.model_file import describe, read_model, save_model
from fst.models.runtime import EXPORTED
from fst.networks.fast import Fast
from fst.pictures.image import read_image, resize, to_unit_range
from fst.training.registry import train
from fst.video.writer import VideoWriter

QUICK = {"sizes": (48,), "curves": (48, 96), "iterations": 6}
QUICKER = QUICK | {"sizes": (), "curves": (48,), "iterations": 1}


@pytest.fixture(autouse=True, scope="module")
def vgg16(random_vgg: Path) -> Iterator[None]:
    """Random VGG16 weights replace the cached ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fst.losses.vgg.fetch_weights", lambda: random_vgg)
        patch.setattr("fst.losses.vgg._verify", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def run(
    compose: Callable[[list[str]], TrainConfig],
    tiny_overrides_in: Callable[[Path], list[str]],
    photos: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> TrainConfig:
    """A trained run with held-out pictures in a separate folder; tests leave it unchanged."""
    overrides = tiny_overrides_in(tmp_path_factory.mktemp("trained") / "runs")
    heldout = [f"data.heldout_path={photos / 'more'}", "data.heldout_images=4"]
    config = compose([*overrides, *heldout])
    train(config)
    return config


def report_of(
    given: list[str], folder: Path, photographs: Path | None = None, **settings
) -> Report:
    names = {each.name for each in dataclasses.fields(Extent)}
    extent = Extent(**{key: value for key, value in settings.items() if key in names})
    others = {key: value for key, value in settings.items() if key not in names}
    return evaluate(given, folder, extent, photographs, device="cpu", **others)


def last_report(config: TrainConfig) -> dict[str, float]:
    lines = (config.run_dir / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])


@pytest.fixture(autouse=True)
def artefacts(monkeypatch: pytest.MonkeyPatch) -> Artefacts:
    """What all models have but that of `report`: measuring them takes longer than all the rest."""
    found = Artefacts(1.25, 0.5, 0.25, 0.125, 1.5, 2.5)
    monkeypatch.setattr(evaluation, "measure_artefacts", lambda stylize, pictures: found)
    return found


@pytest.fixture(scope="module")
def report(run: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("evaluation")
    return report_of([str(run.run_dir)], folder, images=4, **QUICK)


def test_losses_are_bit_identical_to_those_that_training_logged(run: TrainConfig, report: Report):
    logged = {k: v for k, v in last_report(run).items() if k.startswith("heldout/")}
    assert len(logged) == 9
    assert report.evaluations[0].terms == logged
    # The default loss judges, and it is the one that this run was trained by.
    assert report.evaluations[0].objective["total"] == logged["heldout/total"]


def test_the_same_pictures_from_a_folder_give_the_same_bits(
    run: TrainConfig, photos: Path, tmp_path: Path
):
    found = report_of([str(run.run_dir)], tmp_path / "e", photos / "more", images=4, **QUICKER)
    terms = found.evaluations[0].terms
    assert terms == {k: v for k, v in last_report(run).items() if k.startswith("heldout/")}


def test_the_objective_is_the_loss_that_the_model_was_trained_with(
    compose, tiny_overrides, tmp_path: Path
):
    config = compose([*tiny_overrides, "loss.style_weight=50"])
    train(config)
    (found,) = report_of([str(config.run_dir)], tmp_path / "e", images=2, **QUICKER).evaluations
    terms = {name.removeprefix("heldout/"): value for name, value in found.terms.items()}
    expected = terms["content"] + 50 * terms["style"] + 0.02 * terms["total_variation"]
    expected += terms["light"] + terms["colour"]
    assert found.objective["total"] == pytest.approx(expected, rel=1e-5)
    assert found.objective["total"] == pytest.approx(sum(found.curves[0].network) / 2, rel=1e-5)


def test_quality_is_that_of_the_same_pictures_and_of_the_style_at_their_size(
    report: Report, run: TrainConfig, photos: Path, style_picture: Path, random_vgg: Path
):
    pictures, _ = read_squares(photos / "more", 4, 48)
    contents = to_unit_range(pictures)
    stylizer = fst.load(run.run_dir, "cpu", "fp32")
    stylized = torch.cat([stylizer(content) for content in contents.split(1)])
    network = load_vgg16(random_vgg, "relu3_3", verify=False, padding="reflect")
    style = resize(read_image(style_picture), 48)
    expected = measure_quality(network, contents, stylized, style)
    found = report.evaluations[0].quality
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(expected), rel=1e-3)


def test_curves_begin_at_the_start_and_fewer_pictures_are_taken_where_they_are_larger(
    report: Report, run: TrainConfig, tmp_path: Path
):
    small, large = report.evaluations[0].curves
    assert [len(small.network), len(large.network)] == [4, 1]
    for curve in (small, large):
        assert all(len(values) == 7 for values in curve.optimized)
        assert all(values[-1] < values[0] for values in curve.optimized)
    settings = QUICK | {"sizes": (), "curves": (48,), "start": "content"}
    again = report_of([str(run.run_dir)], tmp_path / "content", images=4, **settings)
    (curve,) = again.evaluations[0].curves
    assert [values[0] for values in curve.optimized] == curve.content == small.content
    assert curve.network == small.network


def test_curves_are_not_computed_again(run: TrainConfig, tmp_path: Path, monkeypatch):
    folder = tmp_path / "evaluation"
    settings = QUICK | {"sizes": (), "iterations": 3}
    first = report_of([str(run.run_dir)], folder, images=2, **settings)
    # Stopped in the last picture: it alone is missing.
    missing = sorted((folder / "gatys").glob("*.json"), key=lambda p: p.stat().st_mtime_ns)[-1]
    missing.unlink()
    begun = []
    monkeypatch.setattr(
        curve_store,
        "descend",
        lambda loss, content, start: begun.append(1) or descend(loss, content, start),
    )
    second = report_of([str(run.run_dir)], folder, images=2, **settings)
    assert len(begun) == 1
    curves = [e.evaluations[0].curves for e in (first, second)]
    assert curves[0] == curves[1]
    report_of([str(run.run_dir)], folder, images=2, **(settings | {"iterations": 2}))
    assert len(begun) == 1 + 3


def test_equal_iterations_of_the_network():
    falling = [[8.0, 4.0, 2.0, 1.0], [10.0, 8.0, 6.0, 1.0]]  # means 9, 6, 4, 1
    curve = Curve(256, falling, network=[3.0, 5.0], content=[7.0, 7.0])
    assert curve.mean == [9, 6, 4, 1]
    assert curve.equal_iterations == 2
    assert curve.equal_iterations_each == [2, 3]
    said = sentence(curve, 3, "noise")
    assert "equals that of 2 iterations" in said
    assert "from 2 to 3" in said
    better = Curve(256, falling, network=[0.5, 0.5], content=[7.0, 7.0])
    assert better.equal_iterations is None
    assert "lower than that of 3 iterations" in sentence(better, 3, "noise")


def test_ratios_of_seconds():
    assert Speed(256, network_seconds=0.02, iteration_seconds=0.5).times_as_fast(100) == 2500


def test_all_files_are_written(report: Report, run: TrainConfig, tmp_path: Path):
    folder = tmp_path / "evaluation"
    written = write_report(folder, report, "fst evaluate run", "cpu")
    assert {path.name for path in written} == {
        "evaluation.md",
        "evaluation.json",
        "contact_sheet.jpg",
        "curves.png",
    }
    (found,) = report.evaluations
    page = (folder / "evaluation.md").read_text()
    assert f"| heldout/total | {found.terms['heldout/total']:.4f} |" in page
    assert sentence(found.curves[0], 6, "noise") in page
    assert f"| style: sliced Wasserstein | {found.quality.wasserstein:.4f} |" in page
    content = json.loads((folder / "evaluation.json").read_text())["evaluations"][0]
    assert content["quality"] == dataclasses.asdict(found.quality)
    assert content["terms"] == found.terms
    assert content["equal_iterations"]["48"] == found.curves[0].equal_iterations
    assert content["curves"][0]["optimized"] == found.curves[0].optimized
    # Three columns of 48 px: photograph, network, L-BFGS; four rows and the headings.
    height, width = read_image(folder / "contact_sheet.jpg").shape[-2:]
    assert 3 * 48 <= width < 4 * 48 + 20
    assert height > 4 * 48
    events = EventAccumulator(str(folder / found.name), {"scalars": 0})
    events.Reload()
    for tag, value in found.terms.items():  # under the names, and at the place, of the training
        (event,) = events.Scalars(tag)
        assert event.step == 24
        assert event.value == pytest.approx(value, rel=1e-6)
    curve = [event.value for event in events.Scalars("evaluation/lbfgs_48_px")]
    assert curve == pytest.approx(found.curves[0].mean, rel=1e-6)
    assert {"heldout/contact_sheet", "evaluation/curves"} <= set(events.Tags()["images"])


def test_a_report_next_to_the_run_does_not_change_the_run(
    report: Report, run: TrainConfig, tmp_path: Path
):
    own = shutil.copytree(run.run_dir, tmp_path / run.run_dir.name)
    before = {file: file.read_bytes() for file in own.iterdir()}
    assert report.evaluations[0].name == own.name
    for _ in range(2):
        write_report(tmp_path, report, "fst evaluate run", "cpu")
    assert {file: file.read_bytes() for file in before} == before
    assert len(list(own.glob("*.evaluation"))) == 1


def test_the_plot_marks_where_the_network_is(report: Report):
    # What it draws is what the axes hold.
    from matplotlib.figure import Figure

    from fst.measuring.evaluation_report import _draw

    axis = Figure().subplots()
    curve = report.evaluations[0].curves[0]
    _draw(axis, curve, "noise")
    lines = {line.get_label(): line for line in axis.get_lines()}
    assert list(lines["L-BFGS from noise"].get_ydata()) == curve.mean
    assert lines["network, one pass"].get_ydata()[0] == pytest.approx(sum(curve.network) / 4)


def test_without_curves_the_report_has_none(run: TrainConfig, tmp_path: Path):
    settings = QUICK | {"curves": (), "sizes": ()}
    report = report_of([str(run.run_dir)], tmp_path / "e", images=1, **settings)
    assert (report.size_px, report.images) == (256, 1)
    page = markdown(report, "fst evaluate run", "cpu")
    assert "L-BFGS" not in page
    assert not (tmp_path / "e" / "gatys").exists()


def test_artefacts_are_those_of_the_model(
    report: Report, run: TrainConfig, photos: Path, artefacts: Artefacts
):
    found = report.evaluations[0].artefacts
    assert found != artefacts  # those of the other tests
    stylizer = fst.load(run.run_dir, "cpu", "fp32")
    contents = to_unit_range(read_squares(photos / "more", 4, 48)[0])
    measured = measure_artefacts(
        lambda batch: torch.cat([*map(stylizer.run, batch.split(1))]), [contents]
    )
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(measured), rel=1e-3)


def test_stability_is_measured_on_each_of_several_clips(run: TrainConfig, tmp_path: Path):
    clips = [tmp_path / "calm.mp4", tmp_path / "wild.mp4"]
    random = np.random.default_rng(0)
    still = random.integers(0, 256, (48, 64, 3), np.uint8)
    for clip, spread in zip(clips, (1, 40), strict=True):
        with VideoWriter(clip, 64, 48, 25) as writer:
            for t in range(4):
                frame = still + random.integers(-spread, spread, still.shape)
                writer.write(frame.clip(0, 255).astype(np.uint8), t / 25)
    folder = tmp_path / "e"
    report = report_of([str(run.run_dir)], folder, images=1, videos=clips, **QUICKER)
    found = report.evaluations[0].stability
    assert list(found) == report.videos == [str(clip) for clip in clips]
    calm, wild = (found[video].warping_error_input for video in report.videos)
    assert calm < wild
    write_report(folder, report, "fst evaluate run", "cpu")
    page = (folder / "evaluation.md").read_text()
    for video in report.videos:
        section = page.partition(f"### Stability, {video}\n")[2].partition("###")[0]
        assert (
            f"| warping error of the video itself | {found[video].warping_error_input:.2f} |"
            in (section)
        )
    content = json.loads((folder / "evaluation.json").read_text())["evaluations"][0]
    assert content["stability"] == {v: dataclasses.asdict(s) for v, s in found.items()}
    events = EventAccumulator(str(folder / report.evaluations[0].name), {"scalars": 0})
    events.Reload()
    for clip in clips:
        (event,) = events.Scalars(f"stability/{clip.stem}/warping_error")
        assert event.value == pytest.approx(found[str(clip)].warping_error, rel=1e-6)


def test_two_models_share_the_curves_of_one_loss(
    run: TrainConfig, style_picture: Path, tmp_path: Path
):
    other = tmp_path / "other.safetensors"
    tensors = {
        name: value + 0.01 for name, value in load_file(run.run_dir / "model.safetensors").items()
    }
    from safetensors import safe_open

    with safe_open(run.run_dir / "model.safetensors", "pt") as file:
        save_file(tensors, other, metadata=file.metadata())
    settings = QUICK | {"sizes": (), "curves": (48,), "iterations": 2}
    given = [str(run.run_dir), str(other)]
    report = report_of(given, tmp_path / "e", style=style_picture, images=2, **settings)
    first, second = (e.curves[0] for e in report.evaluations)
    assert first.optimized == second.optimized
    assert first.network != second.network
    assert len(list((tmp_path / "e" / "gatys").glob("*.json"))) == 2


def test_foreign_models_need_a_style_picture_and_take_the_default_loss(
    foreign_model: Path,
    random_vgg: Path,
    style_picture: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch,
):
    with pytest.raises(FileNotFoundError, match="give --style PICTURE"):
        report_of([str(foreign_model)], tmp_path / "e", photos, weights=random_vgg, **QUICKER)
    report = report_of(
        [str(foreign_model)],
        tmp_path / "e",
        photos,
        style=style_picture,
        images=1,
        weights=random_vgg,
        **QUICKER,
    )
    style = resize(read_image(style_picture), 256)
    assert style.shape[-1] == 256
    (found,) = report.evaluations
    assert found.objective["total"] == found.terms["heldout/total"]


def test_a_model_file_chooses_no_weights(run: TrainConfig, tmp_path: Path, monkeypatch):
    """The run was trained with weights and `verify=false` of its own; neither is used."""
    asked = []

    def load(weights: Path | None, last_layer: str, verify: bool = True, padding: str = "") -> None:
        asked.append((weights, verify))
        raise NoWeightsError("no VGG16 weights: cannot download them")

    monkeypatch.setattr(evaluation, "load_vgg16", load)
    assert read_model(run.run_dir / "model.safetensors").info.training_config["loss_network"] == {
        "name": "vgg16",
        "weights": str(run.loss_network.weights),
        "verify": False,
        "padding": "reflect",
    }
    with pytest.raises(FileNotFoundError, match="or give --weights FILE") as caught:
        report_of([str(run.run_dir)], tmp_path / "e", images=1, **QUICK)
    assert asked == [(None, True)]
    assert "loss_network" not in str(caught.value)  # evaluate has no such setting


def test_a_style_picture_is_read_only_for_a_run(run: TrainConfig, photos: Path, tmp_path: Path):
    shutil.copy(run.run_dir / "model.safetensors", tmp_path / "copied.safetensors")
    with pytest.raises(FileNotFoundError, match=r"not in a run folder\): give --style PICTURE"):
        report_of([str(tmp_path / "copied.safetensors")], tmp_path / "e", photos, **QUICK)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["nowhere"], "no model nowhere"),
        (["RUN", "--images", "0"], "images=0 must be at least 1"),
        (["RUN", "--curves", "8"], "a size of 8 px is too small"),
        (["RUN", "--sizes", "big"], "sizes=big must be comma-separated numbers of pixels"),
        (["RUN", "--start", "black"], "start=black is unknown; choose noise or content"),
        (["RUN", "--photographs", "missing"], "missing is not a folder"),
        (["RUN", "--style", "missing.jpg"], "give --style PICTURE"),
        (["RUN", "--weights", "missing.pth"], "--weights missing.pth does not exist"),
        (["RUN", "--video", "missing.mp4"], "missing.mp4"),
        (["RUN", "--video", "a.mp4", "--video", "b.mp4"], "a.mp4"),
    ],
)
def test_invalid_arguments_are_one_line(flags, said, run: TrainConfig, fst_here, tmp_path: Path):
    given = [str(run.run_dir) if flag == "RUN" else flag for flag in flags]
    done = fst_here("evaluate", *given, "-o", "e")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"style": 3}, None),
        ({"style": {"size_px": -5}}, "describes its style in an unknown way"),
        ({"style": {"size_px": "x"}}, "describes its style in an unknown way"),
        ({"style": {"size_px": 10**9}}, "choose a smaller size"),
        ({"style": {"picture": ["a"]}}, "describes its style in an unknown way"),
        ({"loss": 3}, "a loss that cannot be used: unknown loss/3"),
        ({"loss": {"name": "moments", "style_tiles": 1.5}}, "a loss that cannot be used"),
        ({"loss": {"name": "moments", "style_levels": 10**400}}, "a loss that cannot be used"),
        ({"loss": {"name": "moments", "content_layer": "${oc.env:HOME}"}}, "is unknown"),
        ({"loss": {"name": "nice"}}, "unknown loss/nice"),
    ],
)
def test_odd_configurations_in_a_model_file_are_refused(
    config, said, photos: Path, style_picture: Path, tmp_path: Path
):
    network = Fast(FastConfig(width=8, residual_blocks=1))
    save_model(tmp_path / "odd.safetensors", network, describe(network, training_config=config))
    settings = QUICKER | {"style": style_picture, "images": 1}
    given = [str(tmp_path / "odd.safetensors")]
    if said is None:  # it is not needed
        assert len(report_of(given, tmp_path / "e", photos, **settings).evaluations) == 1
        return
    with pytest.raises(UserError, match=re.escape(said)):
        report_of(given, tmp_path / "e", photos, **settings)


def test_a_style_picture_of_another_machine_is_not_opened(photos: Path, tmp_path: Path):
    network = Fast(FastConfig(width=8, residual_blocks=1))
    config = {"style": {"picture": r"\\host\share\a.jpg"}}
    save_model(tmp_path / "model.safetensors", network, describe(network, training_config=config))
    (tmp_path / "config.yaml").write_text("name: run\n")
    with pytest.raises(UserError, match="not a folder of this machine"):
        report_of([str(tmp_path)], tmp_path / "e", photos, **QUICK)


def test_an_infinite_result_is_refused(photos: Path, style_picture: Path, tmp_path: Path):
    network = Fast(FastConfig(width=8, residual_blocks=1))
    for parameter in network.parameters():
        parameter.data.fill_(3e38)  # finite, but not what they lead to
    save_model(tmp_path / "model.safetensors", network, describe(network))
    with pytest.raises(UserError, match="the result is not finite"):
        report_of([str(tmp_path)], tmp_path / "e", photos, style=style_picture, images=1, **QUICK)


def test_neither_data_sets_nor_packages_are_opened(run: TrainConfig, tmp_path: Path, monkeypatch):
    import datasets

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("opened what a model file names, or a pattern swept up")

    monkeypatch.setattr(datasets, "load_dataset", forbidden)
    monkeypatch.setitem(EXPORTED, ".pt2", forbidden)
    network = Fast(FastConfig(width=8, residual_blocks=1))
    data = {"data": {"kind": "parquet", "path": "evil/builder"}, "seed": 0, "runs_dir": "runs"}
    save_model(tmp_path / "model.safetensors", network, describe(network, training_config=data))
    (tmp_path / "config.yaml").write_text("name: run\n")
    with pytest.raises(FileNotFoundError, match="give --photographs DIR"):
        report_of([str(tmp_path)], tmp_path / "e", **QUICK)
    (tmp_path / "swept.pt2").write_bytes(b"native code")
    with pytest.raises(FileNotFoundError, match="add one with --pt2 FILE"):
        report_of([str(tmp_path / "swept.pt2")], tmp_path / "e", **QUICK)
