"""`training.minutes`: how many images there is time for."""

import itertools
import signal
from pathlib import Path

import pytest
import torch
from processes import train_by_two
from safetensors.torch import load_file

from fst.errors import UserError
from fst.training import run as run_module
from fst.training.distributed import World
from fst.training.pace import Pace
from fst.training.registry import train
from fst.training.run import Run
from fst.training.run_folder import RunFolder
from fst.training.stopping import StopRequest
from fst.training.style import StyleTask


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def length(budget: float, step: float, save: float = 0.0, first: float = 0.0, batch: int = 4):
    """Return the images that a pace allows, and those seen when it knew."""
    clock = Clock()
    pace = Pace(budget, save_every=100, clock=clock)
    clock.now += save
    pace.end_save()
    images, seen = 0, 0
    while not images:
        clock.now += step if seen else step + first
        seen += batch
        images = pace.end_step(seen, batch)
    return images, seen


def test_as_many_images_as_fit_into_the_time():
    assert length(budget=100, step=0.5) == (800, 40)  # 200 steps; known after 5% of the time


def test_compiling_in_the_first_step_takes_time_but_is_not_measured():
    images, _ = length(budget=100, step=0.5, first=30)
    assert images == 140 * 4


def test_saves_are_in_the_time():
    images, _ = length(budget=100, step=0.5, save=2)
    # An untrained model is judged, then after each 100 images, and at the end.
    assert images * 0.5 / 4 + 2 * (1 + images / 100 + 1) == pytest.approx(100, abs=2.5)


def test_a_slow_machine_decides_early_and_takes_at_least_one_more_step():
    assert length(budget=10, step=2.0) == (20, 16)
    assert length(budget=1, step=2.0) == (20, 16)


def minutes_of(compose, overrides, name: str):
    lengths = ["training.minutes=5", "training.images=1", "training.save_every=8"]
    return compose([*overrides, *lengths, f"name={name}"])


@pytest.fixture
def ten_seconds_a_look(monkeypatch):
    """Let ten seconds pass whenever the clock that sets the length is read."""
    ticks = itertools.count(0, 10)

    class Slow(Pace):
        def __init__(self, seconds: float, save_every: int) -> None:
            super().__init__(seconds, save_every, lambda: float(next(ticks)))

    monkeypatch.setattr(run_module, "Pace", Slow)


def test_a_run_of_minutes_ends_where_its_length_says_and_resumes_exactly(
    compose, tiny_overrides, ten_seconds_a_look, tmp_path: Path, capsys
):
    config = minutes_of(compose, tiny_overrides, "straight")
    assert train(config, console=True) == 0
    state = RunFolder(config.run_dir).read_state()
    images = state["images"]
    assert state["seen_images"] == images > 40
    said = capsys.readouterr().out
    assert "starting at 0 images" in said
    assert f"training.minutes=5 has time for {images} images" in said
    assert f"complete: {images} images" in said

    stopped = minutes_of(compose, tiny_overrides, "stopped")
    run = Run(StyleTask, stopped, World(), torch.device("cpu"))
    step = run.step

    def step_and_stop(batch: torch.Tensor) -> None:
        step(batch)
        if run.images and run.seen_images > 24:
            request.signal = signal.SIGTERM

    run.step = step_and_stop  # type: ignore[method-assign]
    with StopRequest() as request:
        assert run.run(request, console=False) == signal.SIGTERM
    left = RunFolder(stopped.run_dir).read_state()
    assert 0 < left["seen_images"] < left["images"] == images
    assert train(stopped) == 0
    one, other = (load_file(c.run_dir / "model.safetensors") for c in (config, stopped))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_run_that_stops_before_its_length_is_known_measures_again(
    compose, tiny_overrides, ten_seconds_a_look
):
    config = minutes_of(compose, tiny_overrides, "early")
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    with StopRequest() as request:
        request.signal = signal.SIGTERM
        assert run.run(request, console=False) == signal.SIGTERM
    assert RunFolder(config.run_dir).read_state()["images"] == 0
    assert train(config) == 0
    state = RunFolder(config.run_dir).read_state()
    assert state["seen_images"] == state["images"] > 40


def test_two_processes_agree_on_the_length(compose, tiny_overrides):
    """Else one would wait for the other's gradients for ever."""
    overrides = [*tiny_overrides, "training.minutes=0.05", "training.images=1"]
    train_by_two(overrides)
    state = RunFolder(compose(overrides).run_dir).read_state()
    assert state["seen_images"] == state["images"] > 0


@pytest.mark.parametrize("minutes", ["0", "-1", "nan", "1e9"])
def test_impossible_minutes_are_refused(compose, tiny_overrides, minutes: str):
    with pytest.raises(UserError, match="training.minutes="):
        compose([*tiny_overrides, f"training.minutes={minutes}"])
