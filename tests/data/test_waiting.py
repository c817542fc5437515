"""Batches that never come: the run is saved and ends, and a stop request is heard meanwhile."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch.utils.data import get_worker_info

from fst.config import FolderDataConfig, TrainConfig
from fst.data import waiting
from fst.data.batches import ContentDataset, content_batches, open_data
from fst.data.resident import ResidentDataset
from fst.data.waiting import FeedError, StoppedWaitingError, wait_for
from fst.training.registry import train
from fst.training.run_folder import RunFolder

TRAINED = 8
"""Images that are seen before the next one does not come."""


@pytest.fixture
def config(compose, tiny_overrides) -> TrainConfig:
    return compose([*tiny_overrides, "training.save_every=24", "training.batch_size=4"])


@dataclass
class DeadMount:
    """What the pictures of a network folder that is gone wait for."""

    reached: threading.Event = field(default_factory=threading.Event)
    back: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def dead_mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeadMount]:
    """Pictures after the first eight do not come before the mount is `back`."""
    mount, cut = DeadMount(), ContentDataset.__getitem__

    def block(self: ContentDataset, position: int):
        if position >= TRAINED:
            mount.reached.set()
            mount.back.wait()
        return cut(self, position)

    monkeypatch.setattr(ContentDataset, "__getitem__", block)
    yield mount
    mount.back.set()


def never() -> bool:
    return False


def test_a_dead_mount_ends_the_run_saved_and_it_resumes_as_if_nothing_had_been(
    config: TrainConfig, compose, tiny_overrides_in, tmp_path, dead_mount, monkeypatch
):
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 0.5)
    with pytest.raises(
        FeedError, match=rf"does not answer\. .* is saved at {TRAINED} images: once"
    ):
        train(config)
    assert RunFolder(config.run_dir).read_state()["seen_images"] == TRAINED
    dead_mount.back.set()
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 60)
    assert train(config) == 0
    straight = compose([*tiny_overrides_in(tmp_path / "straight"), "training.save_every=24"])
    assert train(straight) == 0
    resumed, whole = (RunFolder(each.run_dir).read_state() for each in (config, straight))
    assert all(torch.equal(resumed["network"][k], whole["network"][k]) for k in whole["network"])


def test_workers_that_give_no_sign_of_life_are_given_up(photos: Path, dead_mount, monkeypatch):
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 1.0)
    data = open_data(FolderDataConfig(path=str(photos), heldout_images=0), 0).train
    batches = content_batches(data, 4, TRAINED - 4, 24, workers=2, stopping=never)
    next(batches)
    others = set(multiprocessing.active_children())
    assert others
    with pytest.raises(FeedError, match=r"does not answer, or /dev/shm .* use data\.workers=0"):
        next(batches)
    for process in others:
        process.join(timeout=20)
        assert process.exitcode == -signal.SIGKILL  # or the end of the run would wait for them


def test_a_stop_request_while_waiting_saves_and_ends(config: TrainConfig, dead_mount, monkeypatch):
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.2)

    def stop() -> None:
        dead_mount.reached.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop).start()
    assert train(config) == signal.SIGTERM
    assert RunFolder(config.run_dir).read_state()["seen_images"] == TRAINED


def test_a_worker_that_is_killed_ends_the_batches_in_a_line(photos: Path, monkeypatch):
    def die(self: ContentDataset, position: int) -> None:
        assert get_worker_info() is not None  # this process must live on
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ContentDataset, "__getitem__", die)
    data = open_data(FolderDataConfig(path=str(photos), heldout_images=0), 0).train
    with pytest.raises(FeedError, match=r"killed by signal 9: .*/dev/shm .* data\.workers=0"):
        next(content_batches(data, 4, 0, 8, workers=1, stopping=never))
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL  # torch's would end a step midway


def test_a_batch_that_cannot_be_shared_names_what_is_too_small(photos: Path, monkeypatch):
    def no_space(self: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", no_space)
    data = open_data(FolderDataConfig(path=str(photos), heldout_images=0), 0).train
    with pytest.raises(FeedError) as raised:
        next(content_batches(data, 4, 0, 8, workers=1, stopping=never))
    assert str(raised.value).startswith("cannot share a batch of 1.0 MB: unable to allocate")
    assert "/dev/shm is too small for data.workers=1: use data.workers=0" in str(raised.value)


def test_pictures_that_stay_in_memory_are_not_waited_for_either(photos: Path, monkeypatch):
    back = threading.Event()
    monkeypatch.setattr(ResidentDataset, "_decode", lambda self, index: back.wait())
    monkeypatch.setattr(waiting, "GRACE_SECONDS", 0.1)
    data = open_data(FolderDataConfig(path=str(photos), heldout_images=0), 0).train
    with pytest.raises(StoppedWaitingError):
        ResidentDataset(data, torch.device("cpu"), stopping=lambda: True)
    back.set()


def test_what_shows_signs_of_life_is_waited_for(monkeypatch):
    monkeypatch.setattr(waiting, "SILENCE_SECONDS", 0.5)

    def slow() -> Iterator[int]:
        time.sleep(1.5)
        yield 3

    assert [*wait_for(slow(), never, str, time.monotonic)] == [3]
    with pytest.raises(FeedError, match="nothing"):
        next(wait_for(slow(), never, lambda: "nothing"))


def test_errors_and_the_end_are_passed_on():
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("a bug")

    items = wait_for(failing(), never, str)
    assert next(items) == 1
    with pytest.raises(KeyError, match="a bug"):
        next(items)
    assert [*wait_for(iter([]), never, str)] == []
