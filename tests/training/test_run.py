"""Training: what it leaves, how it resumes, and that it learns."""

import copy
import dataclasses
import json
import math
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import torch
from processes import Started, train_by_torchrun, train_by_two
from safetensors.torch import load_file, save_file

import fst
from fst import folder_lock
from fst.config import FastConfig, OptimizerConfig, TrainConfig
from fst.errors import TrainingStoppedError, UserError
from fst.losses.relative import MomentsLoss
from fst.losses.terms import Term
from fst.models.model_file import describe, read_model, save_model
from fst.networks.fast import Fast
from fst.networks.styled import in_style
from fst.pictures.image import read_image
from fst.training import setup, style_terms
from fst.training.distributed import World
from fst.training.meter import Meter
from fst.training.registry import train
from fst.training.run import Run
from fst.training.run_folder import RunFolder, flatten
from fst.training.schedule import learning_rate, update_average
from fst.training.stopping import StopRequest
from fst.training.style import StyleTask


def with_slim(overrides: list[str]) -> list[str]:
    """The overrides with the small loss network: a tiny run takes 40% less time."""
    others = [override for override in overrides if not override.startswith("loss_network.")]
    return [*others, "loss_network=slim"]


@pytest.fixture
def vgg16_overrides(tiny_overrides_in, tmp_path: Path) -> list[str]:
    return tiny_overrides_in(tmp_path / "runs")


@pytest.fixture
def tiny_overrides(vgg16_overrides: list[str]) -> list[str]:
    return with_slim(vgg16_overrides)


@pytest.fixture
def endless_overrides(tiny_overrides: list[str]) -> list[str]:
    """Overrides of a run that ends only when it is stopped."""
    length = ["training.images=100000", "training.save_every=100000"]
    return [*tiny_overrides, *length, "data.workers=2"]


@pytest.fixture
def config(compose, tiny_overrides) -> TrainConfig:
    return compose(tiny_overrides)


@pytest.fixture(scope="session")
def complete_folder(compose, tiny_overrides_in, make_once) -> Path:
    """The folder of one complete run, which tests copy."""

    def make(folder: Path) -> None:
        torch.set_num_threads(1)
        assert train(compose(with_slim(tiny_overrides_in(folder)))) == 0

    return make_once("complete", make) / "run"


@pytest.fixture
def complete(config: TrainConfig, complete_folder: Path) -> TrainConfig:
    """The configuration of a complete run, in the test's own folder."""
    shutil.copytree(complete_folder, config.run_dir)
    return config


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from two, which wait for each other on a busy machine."""
    torch.set_num_threads(1)


def metrics(config: TrainConfig) -> list[dict[str, float]]:
    return metrics_in(config.run_dir)


def metrics_in(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def comparable(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines]


def test_a_run_leaves_the_documented_files(compose, vgg16_overrides):
    config = compose(vgg16_overrides)
    assert train(config) == 0
    names = {file.name for file in config.run_dir.glob("[!.]*")}
    events = {name for name in names if name.startswith("events.out.tfevents")}
    assert len(events) == 1
    assert names - events == {
        "config.yaml",
        "model.safetensors",
        "state.pt",
        "metrics.jsonl",
        "contact_sheet.jpg",
    }
    lines = metrics(config)
    assert [line["seen_images"] for line in lines] == [8, 16, 24]
    for line in lines:
        assert line["seconds"] > 0
        assert line["images_per_second"] > 0
        assert {"content", "style", "style/relu1_2", "total_variation"} <= line.keys()
        assert "objective" in line  # `total` is the held-out one, which is weighted otherwise
        assert "total" not in line
        assert {"heldout/content", "heldout/style", "heldout/total"} <= line.keys()
    read = read_model(config.run_dir / "model.safetensors")
    network, info = read.network, read.info
    assert info.title == "stripes"
    assert info.seen_images == 24
    assert info.loss_network == "vgg16"
    assert info.losses == {k[8:]: v for k, v in lines[-1].items() if k.startswith("heldout/")}
    assert info.training_config == dataclasses.asdict(config)
    photo = torch.rand(1, 3, 33, 47)
    torch.testing.assert_close(fst.load(config.run_dir, dtype="fp32")(photo), network(photo))
    width, height = 48 * 3 + 8, 48 * 2
    assert fst.read_image(config.run_dir / "contact_sheet.jpg").shape[3] > width - 48
    assert fst.read_image(config.run_dir / "contact_sheet.jpg").shape[2] >= height


def test_training_lowers_the_held_out_loss(compose, tiny_overrides):
    config = compose(
        [
            *tiny_overrides,
            "training.images=200",
            "training.save_every=100",
            "training.report_every=100",
        ]
    )
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    judged = []
    validate = run.validate
    run.validate = lambda tracker: judged.append(validate(tracker)) or judged[-1]  # type: ignore
    with StopRequest() as stop:
        run.run(stop, console=False)
    assert [set(terms) for terms in judged] == [set(judged[0])] * 3
    assert judged[-1]["heldout/total"] < 0.7 * judged[0]["heldout/total"]


def test_the_files_that_ship_with_fst_suffice_to_train_a_style(
    compose, photos: Path, tmp_path: Path
):
    config = compose(
        [
            "style=vortices",
            "style.size_px=96",
            f"data.path={photos}",
            "data.crop_px=48",
            "data.workers=0",
            "data.heldout_images=3",
            "data.heldout_px=48",
            "loss_network=slim",
            "loss.content_target=null",  # so that the objective stays the one that is judged
            "loss.style_pictures=1",  # as the held-out pictures are compared, each alone
            "training.images=200",
            "training.save_every=100",
            "training.report_every=100",
            "training.device=cpu",
            f"runs_dir={tmp_path / 'runs'}",
        ]
    )
    assert train(config) == 0
    halfway, end = metrics(config)
    untrained = Run(
        StyleTask, dataclasses.replace(config, name="untrained"), World(), torch.device("cpu")
    )
    contents = untrained.context.heldout.float() / 255
    with torch.no_grad():
        start = untrained.task.heldout_loss(untrained.task.average(contents), contents)
    for report in (halfway, end):
        assert report["heldout/style"] < 0.65 * start["style"].mean()
        assert report["heldout/total"] < 0.75 * start["total"].mean()
    assert read_model(config.run_dir / "model.safetensors").info.loss_network == "slim"


def test_init_starts_with_a_model_s_weights(
    compose, tiny_overrides, complete_folder: Path, tmp_path: Path
):
    model = load_file(complete_folder / "model.safetensors")
    shutil.copy(complete_folder / "model.safetensors", tmp_path / "first.safetensors")
    started = compose([*tiny_overrides, "name=second", f"init={tmp_path / 'first.safetensors'}"])
    run = Run(StyleTask, started, World(), torch.device("cpu"))
    for network in (run.task.descent.network, run.task.average):
        assert all(torch.equal(value, model[key]) for key, value in network.state_dict().items())
    assert interrupt_after(12, started) == signal.SIGTERM
    saved = RunFolder(started.run_dir).read_state()["network"]
    (tmp_path / "first.safetensors").unlink()  # a resumed run does not need it
    resumed = Run(StyleTask, started, World(), torch.device("cpu"))
    resumed.load_state_dict(RunFolder(started.run_dir).read_state())
    assert all(
        torch.equal(v, saved[k]) for k, v in resumed.task.descent.network.state_dict().items()
    )
    train(started)
    assert read_model(started.run_dir / "model.safetensors").info.training_config["init"] == (
        started.init
    )
    with pytest.raises(ValueError, match="init is .*first.safetensors there and None here"):
        train(compose([*tiny_overrides, "name=second"]))


def test_init_requires_an_existing_model_of_the_same_architecture(
    compose, tiny_overrides, tmp_path: Path
):
    save_model(
        tmp_path / "wide.safetensors",
        Fast(FastConfig(width=16, residual_blocks=1)),
        describe(Fast(FastConfig(width=16, residual_blocks=1))),
    )
    wide = compose([*tiny_overrides, f"init={tmp_path / 'wide.safetensors'}"])
    with pytest.raises(ValueError, match=r"network.width=16.*this run trains.*network.width=8"):
        train(wide)
    with pytest.raises(FileNotFoundError, match="init=nowhere: no model nowhere"):
        train(compose([*tiny_overrides, "init=nowhere"]))


@pytest.mark.parametrize("loss", ["moments", "relative", "johnson"])
@pytest.mark.parametrize("network", ["fast", "johnson"])
def test_every_network_trains_with_every_loss(compose, vgg16_overrides, network: str, loss: str):
    layers = "loss.style_layers=[relu1_2,relu2_2]"
    short = ["training.images=4", "data.heldout_images=1", f"network={network}", f"loss={loss}"]
    of_both = [override for override in vgg16_overrides if "coarse" not in override]
    config = compose([*of_both, *short, layers])
    assert train(config) == 0
    assert metrics(config)[-1]["heldout/style"] > 0
    assert read_model(config.run_dir / "model.safetensors").info.network == network


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_trains_to_nearly_the_same(
    compose, tiny_overrides, complete: TrainConfig, precision: str
):
    reduced = compose([*tiny_overrides, "name=reduced", f"training.precision={precision}"])
    train(reduced)
    ends = [metrics(c)[-1]["heldout/total"] for c in (complete, reduced)]
    assert ends[0] == pytest.approx(ends[1], rel=0.05)
    assert ends[0] != ends[1]


def train_until(images: int, config: TrainConfig, event: Callable[[], object]) -> int:
    """Train; something happens in the step that reaches `images`."""
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    step = run.step

    def step_and_event(batch: torch.Tensor) -> None:
        step(batch)
        if run.seen_images == images:
            event()

    run.step = step_and_event  # type: ignore[method-assign]
    with StopRequest() as stop:
        return run.run(stop, console=False)


def interrupt_after(images: int, config: TrainConfig, how: int = signal.SIGTERM) -> int:
    """Train, and send this process a signal in the step that reaches `images`."""
    return train_until(images, config, lambda: os.kill(os.getpid(), how))


@pytest.mark.parametrize(
    ("how", "loss"),
    [
        (signal.SIGTERM, []),
        (signal.SIGINT, []),
        (signal.SIGTERM, ["loss.temporal_weight=10"]),
        (signal.SIGTERM, ["training.palette=0.5"]),
        (signal.SIGTERM, ["data.resident=true"]),
        (signal.SIGTERM, ["styles"]),
        (signal.SIGTERM, ["works"]),
    ],
)
def test_a_stopped_run_resumes_bit_for_bit(
    compose, tiny_overrides, complete_folder, photos: Path, how: int, loss: list[str]
):
    overrides = [*tiny_overrides, "training.images=24", *loss]
    if loss == ["styles"]:
        overrides = [f"styles={photos}/more", *tiny_overrides[1:]]
    if loss == ["works"]:
        overrides = [f"style={photos}/more", *tiny_overrides[1:]]
    straight = compose(overrides)
    if loss:
        train(straight)
    else:
        shutil.copytree(complete_folder, straight.run_dir)
    stopped = compose([*overrides, f"runs_dir={straight.runs_dir}-2"])
    assert interrupt_after(12, stopped, how) == how  # between two reports
    assert interrupt_after(16, stopped, how) == how  # at one
    assert train(stopped) == 0
    one, other = (load_file(c.run_dir / "model.safetensors") for c in (straight, stopped))
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    states = [RunFolder(c.run_dir).read_state() for c in (straight, stopped)]
    for key, value in states[0]["network"].items():
        assert torch.equal(value, states[1]["network"][key]), key
    assert comparable(metrics(straight)) == comparable(metrics(stopped))


def test_kill_9_at_any_moment_leaves_a_whole_run_folder(
    compose, tiny_overrides, complete_folder: Path, tmp_path: Path
):
    killed = compose(tiny_overrides)
    moments = random.Random(0)
    kills = 0
    for _ in range(3):
        started = Started(["train", *tiny_overrides], tmp_path)
        deadline = time.monotonic() + 60
        while not killed.run_dir.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.6))
        started.process.kill()
        kills += started.end()[0] == -signal.SIGKILL
        if (model := killed.run_dir / "model.safetensors").exists():
            read_model(model)
        RunFolder(killed.run_dir).read_state()
    assert kills
    train(killed)
    one, other = (load_file(f / "model.safetensors") for f in (complete_folder, killed.run_dir))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert comparable(metrics_in(complete_folder)) == comparable(metrics(killed))


def test_a_complete_run_reports_it_and_changes_nothing(config: TrainConfig, capsys):
    train(config)
    before = {f: f.read_bytes() for f in config.run_dir.iterdir() if "events" not in f.name}
    assert train(config, console=True) == 0
    printed = capsys.readouterr().out
    assert "nothing left to train at 24 of 24 images" in printed
    assert "complete: 24 images" in printed
    assert before == {f: f.read_bytes() for f in config.run_dir.iterdir() if "events" not in f.name}


@pytest.mark.usefixtures("complete")
def test_another_configuration_is_refused_with_the_difference(compose, tiny_overrides):
    with pytest.raises(ValueError, match=r"loss.style_weight is 10.0 there and 7.0 here.*name="):
        train(compose([*tiny_overrides, "loss.style_weight=7"]))
    train(compose([*tiny_overrides, "data.workers=1", "training.save_every=12"]))  # free to change


def test_a_damaged_state_is_reported_with_what_to_do(complete: TrainConfig):
    (complete.run_dir / "state.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match="state.pt is damaged.*: remove it to start again"):
        train(complete)


def test_a_run_that_failed_before_its_first_save_may_restart_with_other_settings(
    compose, tiny_overrides, tmp_path: Path
):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no picture")
    bad = compose([*tiny_overrides, f"data.path={tmp_path / 'bad'}", "data.workers=1"])
    with pytest.raises(
        ValueError, match="100 pictures in a row are unusable, the last one .*a.jpg"
    ):
        train(bad)
    assert train(compose([*tiny_overrides, "training.images=4"])) == 0


def test_a_resumed_run_requires_the_pictures_it_started_with(
    compose, tiny_overrides, photos, tmp_path
):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    config = compose([*tiny_overrides, f"data.path={folder}", f"runs_dir={folder / 'runs'}"])
    assert interrupt_after(12, config) == signal.SIGTERM
    train(config)  # the contact sheet, which lies in the folder now, is none of them
    shutil.copy(photos / "00.png", folder / "another.png")
    with pytest.raises(UserError, match="the pictures in data.path have changed since .* began"):
        train(config)


def test_pictures_that_disappear_stop_the_run_which_resumes_when_they_are_back(
    compose, tiny_overrides, photos, tmp_path
):
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    overrides = [*tiny_overrides, f"data.path={folder}", "training.palette=0.5"]
    straight = compose([*overrides, "name=straight"])
    train(straight)
    stopped = compose(overrides)
    with pytest.raises(UserError, match=r"photos no longer exists\. .* saved at 12 images: once"):
        train_until(12, stopped, lambda: folder.rename(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").rename(folder)
    assert train(stopped) == 0
    one, other = (load_file(c.run_dir / "model.safetensors") for c in (straight, stopped))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_files_may_move_between_sittings_but_not_change(
    compose, vgg16_overrides, photos, random_vgg, tmp_path: Path
):
    heldout, weights = tmp_path / "heldout", tmp_path / "weights.safetensors"
    shutil.copytree(photos / "more", heldout)
    shutil.copytree(photos / "more", tmp_path / "before")
    shutil.copy(random_vgg, weights)
    first = [*vgg16_overrides, f"data.heldout_path={tmp_path / 'before'}"]
    assert interrupt_after(12, compose(first)) == signal.SIGTERM
    moved = [*first, f"data.heldout_path={heldout}", f"loss_network.weights={weights}"]
    moved += ["style.title=another", "training.images=24"]
    resumed = Run(StyleTask, compose(moved), World(), torch.device("cpu"))
    resumed.load_state_dict(resumed.folder.read_state())
    assert resumed.seen_images == 12

    shutil.copy(photos / "00.png", heldout / "00.png")
    with pytest.raises(UserError, match="the held-out pictures have changed since"):
        train(compose(moved))
    (heldout / "00.png").unlink()
    tensors = load_file(weights)
    tensors["features.0.weight"] *= 2
    save_file(tensors, weights)
    with pytest.raises(UserError, match="the weights of the loss network have changed since"):
        train(compose(moved))
    with pytest.raises(UserError, match="the pictures in data.path have changed since"):
        train(compose(vgg16_overrides))  # trains on fewer of them: some are held out


def test_the_loss_is_given_fp32_pixels_in_every_precision(compose, tiny_overrides):
    config = compose([*tiny_overrides, "training.precision=bf16"])
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    seen = []
    run.task.loss.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    run.step(torch.randint(0, 255, (4, 3, 40, 40), dtype=torch.uint8))
    assert seen == [torch.float32]


def test_two_processes_do_not_train_in_one_folder(config: TrainConfig, monkeypatch):
    monkeypatch.setattr(folder_lock, "TIMEOUT_SECONDS", 0.1)
    with (
        RunFolder(config.run_dir).lock(),
        pytest.raises(UserError, match=f"process {os.getpid()} on .* is working in"),
    ):
        train(config)


# Ctrl-C reaches every process of a terminal; schedulers send SIGTERM to every process of a job.
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_saves_the_run(
    compose, endless_overrides, tmp_path: Path, number: int
):
    started = Started(["train", *endless_overrides], tmp_path)
    started.wait_for("/100000 images")  # the data workers have started
    os.killpg(started.process.pid, number)
    status, printed, said = started.end()
    assert "run the same command again to resume" in printed, said
    assert RunFolder(compose(endless_overrides).run_dir).read_state()["seen_images"] > 0
    assert status == 128 + number
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_torchrun_saves_the_run(
    compose, endless_overrides, number: int
):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    with subprocess.Popen(
        [*launch, "-m", "fst", "train", *endless_overrides],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        for line in process.stdout:
            if "/100000 images" in line:
                break
        os.killpg(process.pid, number)
        printed, said = process.communicate(timeout=60)
    assert "run the same command again to resume" in printed, said
    assert RunFolder(compose(endless_overrides).run_dir).read_state()["seen_images"] > 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_second_hangup_is_ignored_at_every_moment(monkeypatch: pytest.MonkeyPatch):
    ended = []
    handlers = []
    set_handler = signal.signal

    def record(number: int, handler):
        handlers.append((number, handler))
        return set_handler(number, handler)

    before = signal.signal(signal.SIGHUP, lambda number, frame: ended.append(number))
    try:
        with StopRequest() as stop:
            monkeypatch.setattr(signal, "signal", record)
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    finally:
        set_handler(signal.SIGHUP, before)
    assert stop.signal == signal.SIGHUP
    assert not ended
    assert (signal.SIGHUP, signal.SIG_DFL) not in handlers  # not even for a moment: it would kill


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_lost_connection_saves_the_run(compose, endless_overrides, fst_command):
    import fcntl
    import pty
    import termios

    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))

    def own_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with (
        subprocess.Popen(
            [*fst_command, "train", *endless_overrides],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=own_terminal,
        ) as process,
        ExitStack() as at_last,
    ):
        at_last.callback(process.kill)  # else a failure waits for its end
        os.close(terminal)
        printed = b""
        while not re.search(rb" [1-9]\d*/100000", printed):  # the data workers have started
            printed += os.read(controller, 1 << 16)
        os.close(controller)  # which sends SIGHUP, and every write to the terminal fails
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGHUP)  # as the shell does then
        process.wait(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert RunFolder(compose(endless_overrides).run_dir).read_state()["seen_images"] > 0


def test_nohup_lets_a_training_go_on():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_weights_that_are_not_finite_are_not_saved(config: TrainConfig):
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    step = run.step

    def step_and_spoil(batch: torch.Tensor) -> None:
        step(batch)
        if run.seen_images == 16:  # the loss of this step was still finite
            with torch.no_grad():
                run.task.descent.network.head[-2].bias.fill_(math.nan)

    run.step = step_and_spoil  # type: ignore[method-assign]
    with (
        StopRequest() as stop,
        pytest.raises(TrainingStoppedError, match="a weight became infinite or NaN"),
    ):
        run.run(stop, console=False)
    assert RunFolder(config.run_dir).read_state()["seen_images"] == 8


def test_weights_that_are_not_finite_stop_the_run_which_keeps_its_last_good_state(
    config: TrainConfig,
):
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    step = run.step

    def step_and_spoil(batch: torch.Tensor) -> None:
        if run.seen_images == 12:
            with torch.no_grad():
                run.task.descent.network.head[-2].bias.fill_(math.nan)
        step(batch)

    run.step = step_and_spoil  # type: ignore[method-assign]
    with (
        StopRequest() as stop,
        pytest.raises(TrainingStoppedError, match="a weight became infinite or NaN.*last good"),
    ):
        run.run(stop, console=False)
    state = RunFolder(config.run_dir).read_state()
    assert state["seen_images"] == 8
    assert all(value.isfinite().all() for value in state["network"].values())
    assert all(v.isfinite().all() for v in load_file(config.run_dir / "model.safetensors").values())
    assert train(config) == 0  # and resumes from there


def spoil(photo: str, run: Run) -> None:
    """Make the gradient NaN of each batch that has a crop of the photograph."""
    terms, dataset = run.task.terms, run.data.train

    def spoil_terms(images: torch.Tensor, position: int) -> dict[str, torch.Tensor]:
        found = terms(images, position)
        names = [dataset.name_at(at) for at in range(position, position + len(images))]
        if any(Path(name).name == photo for name in names):
            found["total"] = found["total"] * math.nan
        return found

    run.task.terms = spoil_terms  # type: ignore[method-assign]


def test_a_step_whose_gradient_is_not_finite_is_skipped_and_its_pictures_are_not_met_again(
    compose, tiny_overrides, tmp_path: Path, capsys
):
    changes = ["training.images=48", "training.save_every=48", "data.heldout_images=0"]
    results = []
    for workers in (0, 2):
        config = compose([*tiny_overrides, *changes, f"data.workers={workers}", f"name={workers}"])
        run = Run(StyleTask, config, World(), torch.device("cpu"))
        spoil("05.png", run)
        with StopRequest() as stop:
            assert run.run(stop, console=True) == 0
        assert run.skipped_steps == 1  # of twelve photographs, in four passes
        assert "05.png" in {Path(name).name for name in run.skipped}
        assert len(run.skipped) == 4  # the batch
        lines = metrics(config)
        assert [line["skipped_steps"] for line in lines][-1] == 1
        assert all(math.isfinite(line["objective"]) for line in lines if "objective" in line)
        printed = capsys.readouterr().out
        assert printed.count("was in a batch whose gradient is infinite or NaN") == 4
        assert "1 steps skipped" in printed
        results.append(load_file(config.run_dir / "model.safetensors"))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_run_that_skipped_a_step_resumes_exactly(compose, tiny_overrides, tmp_path: Path):
    changes = ["training.images=40", "training.save_every=8", "training.report_every=40"]
    models = []
    for stops in ([], [12, 20]):
        config = compose([*tiny_overrides, *changes, f"name=stopped{len(stops)}"])
        for at in [*stops, 40]:
            run = Run(StyleTask, config, World(), torch.device("cpu"))
            spoil("05.png", run)
            step = run.step
            with StopRequest() as stop:

                def step_and_stop(batch: torch.Tensor) -> None:
                    step(batch)  # noqa: B023, called in this round
                    if run.seen_images >= at:  # noqa: B023
                        stop.signal = signal.SIGTERM  # noqa: B023

                run.step = step_and_stop  # type: ignore[method-assign]
                run.run(stop, console=False)
        assert run.skipped_steps == 1
        models.append(load_file(config.run_dir / "model.safetensors"))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


def test_steps_skipped_in_a_row_end_the_run_in_one_line_and_keep_the_last_good_state(
    compose, tiny_overrides
):
    config = compose([*tiny_overrides, "training.images=400", "training.save_every=8"])
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    step = run.step

    def diverge(batch: torch.Tensor) -> None:
        if run.seen_images == 20:
            with torch.no_grad():
                run.task.descent.network.head[-2].bias.fill_(1e38)
                run.task.descent.network.head[-2].weight.fill_(1e38)
        step(batch)

    run.step = diverge  # type: ignore[method-assign]
    with (
        StopRequest() as stop,
        pytest.raises(TrainingStoppedError, match="became infinite or NaN within.*last good"),
    ):
        run.run(stop, console=False)
    assert RunFolder(config.run_dir).read_state()["seen_images"] == 16


def test_skipped_pictures_are_named_and_counted(compose, tiny_overrides, photos, tmp_path, capsys):
    folder = tmp_path / "mixed pictures"
    folder.mkdir()
    for file in list(photos.glob("*.png"))[:4]:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    overrides = [*tiny_overrides, f"data.path={folder}", "data.heldout_images=0"]
    train(compose(overrides), console=True)
    printed = capsys.readouterr().out
    broken = folder / "broken.jpg"
    assert printed.count(f"skipped {broken}: ") == 1  # though it is met in each pass
    assert f"1 pictures were skipped: {broken}" in printed


# A step of the default loss agrees to rounding; in further ones its content term, which scales
# nearly constant features of these tiny crops up, enlarges rounding faster than `relative` does.
@pytest.mark.parametrize(
    ("train_both", "loss", "temporal_weight", "images", "bound", "styles"),
    [
        (train_by_torchrun, "moments", 0, 4, 1e-5, 1),
        (train_by_two, "moments", 0, 4, 1e-5, 2),
        (train_by_two, "relative", 10, 8, 1e-3, 1),
    ],
)
def test_two_processes_give_the_result_of_one(
    vgg16_overrides,
    compose,
    photos,
    tmp_path: Path,
    train_both: Callable[[list[str]], None],
    loss: str,
    temporal_weight: float,
    images: int,
    bound: float,
    styles: int,
):
    length = [f"training.images={images}", f"training.save_every={images}"]
    overrides = [*vgg16_overrides, f"loss={loss}", f"loss.temporal_weight={temporal_weight}"]
    overrides += length
    if styles == 2:
        overrides[0] = f"styles=[{photos}/00.png,{photos}/03.png]"
        # With most seeds the gradient of a weight is nothing but rounding here, with or without
        # flat channels, and Adam makes a full step of it.
        overrides.append("seed=4")
    one = compose([*overrides, f"runs_dir={tmp_path / 'one'}"])
    train(one)
    two = compose([*overrides, f"runs_dir={tmp_path / 'two'}"])
    train_both([*overrides, f"runs_dir={tmp_path / 'two'}"])
    start = Run(StyleTask, one, World(), torch.device("cpu")).task.descent.network.eval()
    models = [c.run_dir / "model.safetensors" for c in (one, two)]
    networks = [read_model(model).in_style("03" if styles == 2 else "").network for model in models]
    # Not weight by weight: the gradient of a bias before instance norm is nothing but rounding,
    # which Adam blows up to full steps.
    photo = read_image(next(photos.glob("*.png")))
    with torch.no_grad():
        before, *after = (network(photo) for network in (in_style(start, 0), *networks))
    assert (after[0] - before).abs().max() > 50 * bound
    assert (after[0] - after[1]).abs().max() < bound
    for a, b in zip(comparable(metrics(one)), comparable(metrics(two)), strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_a_batch_that_processes_cannot_share_is_refused(config: TrainConfig):
    with pytest.raises(ValueError, match="batch_size=4 cannot be shared by 3"):
        Run(StyleTask, config, World(0, 3), torch.device("cpu"))


def test_the_learning_rate_rises_then_falls_to_zero_whatever_the_batch():
    config = OptimizerConfig(learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(seen, 1000, config) for seen in range(1001)]
    assert rates[0] < 0.02
    assert rates[100] == 1.0 == max(rates)
    assert rates[550] == pytest.approx(0.5)
    assert rates[1000] == 0
    assert all(a < b for a, b in zip(rates[:100], rates[1:101], strict=True))
    assert all(a > b for a, b in zip(rates[100:1000], rates[101:], strict=True))


def test_the_average_is_the_exponential_one():
    network, average = (
        Fast(FastConfig(width=8, residual_blocks=0)),
        Fast(FastConfig(width=8, residual_blocks=0)),
    )
    history = [copy.deepcopy(average.state_dict())]
    for _ in range(3):
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter)
        history.append(copy.deepcopy(network.state_dict()))
        update_average(average, network, 0.8)
    weights = [0.8**3, 0.2 * 0.8**2, 0.2 * 0.8, 0.2]
    for key, value in average.state_dict().items():
        expected = sum(w * past[key] for w, past in zip(weights, history, strict=True))
        torch.testing.assert_close(value, expected)


def test_the_meter_s_mean_survives_a_stop():
    meter, resumed = Meter(), Meter()
    for value in (1.0, 2.0, 6.0):
        meter.add({"a": torch.tensor(value)})
    resumed.load_state_dict(meter.state_dict(), torch.device("cpu"))
    resumed.add({"a": torch.tensor(3.0)})
    assert resumed.means(World()) == {"a": 3.0}


def test_tensorboard_holds_scalars_pictures_and_hparams(complete: TrainConfig):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(complete.run_dir), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    for tag in ("loss/objective", "loss/style/relu2_2", "optimizer/learning_rate", "speed/seconds"):
        assert [event.step for event in events.Scalars(tag)] == [8, 16, 24]
    assert [event.step for event in events.Scalars("heldout/style")] == [0, 8, 16, 24]
    assert [event.step for event in events.Images("heldout/contact_sheet")] == [0, 8, 16, 24]
    assert "config/text_summary" in tags["tensors"]


def hparams_of(runs_dir: str):
    """What TensorBoard's HPARAMS tab shows of all runs: the experiment, and the runs."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import (
        api_pb2,
        backend_context,
        get_experiment,
        list_session_groups,
    )

    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(runs_dir)
    runs.Reload()
    provider = data_provider.MultiplexerDataProvider(runs, runs_dir)
    context = backend_context.Context(TBContext(data_provider=provider))
    request = api_pb2.ListSessionGroupsRequest(slice_size=10, allowed_statuses=[0, 1, 2, 3])
    asked = (RequestContext(), context, "")
    experiment = get_experiment.Handler(*asked, api_pb2.GetExperimentRequest()).run()
    return experiment, list_session_groups.Handler(*asked, request).run().session_groups


def test_the_hparams_tab_compares_runs_by_their_held_out_losses(compose, tiny_overrides):
    configs = [
        compose([*tiny_overrides, f"name={weight}", f"loss.style_weight={weight}"])
        for weight in (1, 7)
    ]
    for config in configs:
        train(config)
    _, groups = hparams_of(configs[0].runs_dir)
    shown = {
        group.hparams["loss.style_weight"].number_value: {
            value.name.tag: value.value for value in group.metric_values
        }
        for group in groups
    }
    for config in configs:
        last = metrics(config)[-1]
        terms = shown[config.loss.style_weight]
        names = ("content", "style", "total_variation", "light", "colour", "total")
        assert terms.keys() == {f"heldout/{name}" for name in names}
        assert all(value == pytest.approx(last[tag], rel=1e-5) for tag, value in terms.items())


def test_the_hparams_tab_shows_swept_settings_and_the_style_weight_first(compose, tiny_overrides):
    config = compose([*tiny_overrides, "training.images=4"])
    train(config, swept={"optimizer.learning_rate", "network"})
    experiment, _ = hparams_of(config.runs_dir)
    names = [info.name for info in experiment.hparam_infos]
    network = {f"network.{key}" for key in vars(config.network)}
    first = {"loss.style_weight", "optimizer.learning_rate", *network}
    assert set(names[: len(first)]) == first
    assert set(names) == flatten(dataclasses.asdict(config)).keys()


def test_the_temporal_term_is_reported_everywhere_when_it_is_on(compose, tiny_overrides, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = compose([*tiny_overrides, "loss.temporal_weight=10"])
    train(config, console=True)
    for line in metrics(config):
        terms = ("content", "style", "total_variation", "light", "colour", "temporal")
        weights = (1, line["style_weight"], config.loss.tv_weight, 1, 1, 10)
        total = sum(weight * line[name] for weight, name in zip(weights, terms, strict=True))
        assert line["objective"] == pytest.approx(total, rel=0.01)  # the style weight moves
        assert 0 < line["heldout/temporal"] < 1
    assert read_model(config.run_dir / "model.safetensors").info.losses["temporal"] > 0
    events = EventAccumulator(str(config.run_dir), size_guidance={"scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("loss/temporal")] == [8, 16, 24]
    assert [event.step for event in events.Scalars("heldout/temporal")] == [0, 8, 16, 24]
    assert re.search(r"24/24 images .* temporal 0", capsys.readouterr().out)


def test_the_temporal_term_costs_nothing_when_it_is_off(compose, tiny_overrides, monkeypatch):
    monkeypatch.setattr(style_terms, "temporal_term", None)  # a call would fail
    config = compose(tiny_overrides)
    train(config)
    assert not any("temporal" in name for name in metrics(config)[-1])


def test_the_temporal_term_changes_nothing_but_the_objective(
    compose, tiny_overrides, complete: TrainConfig
):
    weightless = compose([*tiny_overrides, "name=weightless", "loss.temporal_weight=1e-30"])
    train(weightless)
    models = [c.run_dir / "model.safetensors" for c in (complete, weightless)]
    one, other = (read_model(model).network for model in models)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


class Brightness(Term):
    name = "brightness"

    def __call__(self, stylized, target):
        return stylized.mean((1, 2, 3))


class FourTermLoss(MomentsLoss):
    """A loss as somebody may add it: one more term, named in no other place."""

    def further_terms(self):
        return [*super().further_terms(), Brightness(0.5)]


def test_a_further_loss_term_is_reported_everywhere(compose, tiny_overrides, monkeypatch, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setitem(setup.LOSSES, "moments", FourTermLoss)
    monkeypatch.setattr(setup, "MomentsLoss", FourTermLoss)
    config = compose([*tiny_overrides, "loss=moments"])
    train(config, console=True)
    assert 0 < metrics(config)[-1]["brightness"] < 1
    assert 0 < metrics(config)[-1]["heldout/brightness"] < 1
    events = EventAccumulator(str(config.run_dir), size_guidance={"scalars": 0})
    events.Reload()
    assert {"loss/brightness", "heldout/brightness"} <= set(events.Tags()["scalars"])
    experiment, _ = hparams_of(config.runs_dir)
    assert "heldout/brightness" in [info.name.tag for info in experiment.metric_infos]
    printed = capsys.readouterr().out
    assert re.search(r"24/24 images .* objective .* brightness 0", printed)
    assert "compare heldout/total between runs, not with objective" in printed


def fill_the_disk() -> None:
    """Let TensorBoard's thread find the disk full."""
    from tensorboard.summary.writer import record_writer

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    record_writer.RecordWriter.write = full


def test_a_full_disk_is_one_line_although_tensorboard_writes_in_a_thread(
    tiny_overrides, tmp_path: Path
):
    status, _, said = Started(["train", *tiny_overrides], tmp_path, before=fill_the_disk).end()
    assert status == 2
    assert said == "fst train: [Errno 28] No space left on device\n"


def test_a_second_configuration_is_pointed_to_init(compose, tiny_overrides, complete: TrainConfig):
    with pytest.raises(UserError, match=f"init={complete.run_dir} starts it from that model's"):
        train(compose([*tiny_overrides, "loss.style_weight=7"]))


def test_a_profile_is_a_trace_and_a_table_and_changes_nothing(compose, tiny_overrides, capsys):
    length = ["training.images=20", "training.save_every=20"]
    short = [*tiny_overrides, "training.batch_size=1", *length]
    plain = compose([*short, "name=plain"])
    profiled = compose([*short, "name=profiled", "training.profile=true"])
    train(plain)
    train(profiled, console=True)
    printed = capsys.readouterr().out
    table = printed.partition("ms a step")[2].splitlines()[1:11]
    shares = [float(line.split()[1].rstrip("%")) for line in table]
    assert shares == sorted(shares, reverse=True) and 40 < sum(shares) <= 100.5
    trace = json.loads((profiled.run_dir / "steps.pt.trace.json").read_text())
    steps = {event["name"] for event in trace["traceEvents"]} & {
        f"ProfilerStep#{number}" for number in range(30)
    }
    assert len(steps) == 8
    one, other = (load_file(c.run_dir / "model.safetensors") for c in (plain, profiled))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_too_short_to_be_profiled_says_so(compose, tiny_overrides, capsys):
    train(compose([*tiny_overrides, "training.profile=true"]), console=True)
    assert "no profile: training ended before step 13" in capsys.readouterr().out


@pytest.mark.gpu
def test_a_gpu_trains_like_the_cpu(compose, tiny_overrides):
    configs = [
        compose([*tiny_overrides, f"name={device}", f"training.device={device}"])
        for device in ("cpu", "cuda")
    ]
    for config in configs:
        assert train(config) == 0
    ends = [metrics(config)[-1]["heldout/total"] for config in configs]
    assert ends[0] == pytest.approx(ends[1], rel=0.03)
