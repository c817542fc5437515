"""The run folder: whose it is, and what a damaged file in it does."""

import copy
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fst import folder_lock
from fst.errors import UserError
from fst.training.distributed import World
from fst.training.registry import train
from fst.training.run import Run
from fst.training.run_folder import RunFolder
from fst.training.style import StyleTask

CONTENDER = """
import subprocess, sys
from pathlib import Path
from torch.utils.data import DataLoader
from fst.training.run_folder import RunFolder

with RunFolder(Path(sys.argv[1])).lock():
    batches = iter(DataLoader(range(10**6), num_workers=2))
    next(batches)
    print("locked", flush=True)
    for _ in batches:
        pass
"""


def test_the_lock_ends_with_its_process_although_data_workers_live_on(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(folder_lock, "TIMEOUT_SECONDS", 0.5)
    command = [sys.executable, "-c", CONTENDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)  # they notice that the process is gone, but too late
        with (
            pytest.raises(UserError, match=f"process {holder.pid} on .* is working in"),
            RunFolder(tmp_path).lock(),
        ):
            pass
        holder.kill()
        holder.wait()
        with RunFolder(tmp_path).lock():
            pass
        os.killpg(holder.pid, signal.SIGKILL)


def test_the_lock_is_waited_for(tmp_path: Path):
    with subprocess.Popen(
        [sys.executable, "-c", CONTENDER, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        killer = threading.Timer(0.5, holder.kill)
        killer.start()
        with RunFolder(tmp_path).lock():
            assert holder.wait(timeout=10) == -signal.SIGKILL
        killer.join()
    assert not (tmp_path / folder_lock.OWNER).exists()


@pytest.fixture(scope="module")
def one_run() -> dict[str, Path]:
    """The one run that `done_run` copies, once there is one."""
    return {}


@pytest.fixture
def done_run(compose, tiny_overrides, one_run, tmp_path_factory):
    """The configuration of a complete run of one step, in a folder of its own."""
    config = compose([*tiny_overrides, "training.images=8", "training.batch_size=8"])
    if not one_run:
        train(config)
        one_run["run"] = tmp_path_factory.mktemp("trained") / "run"
        shutil.copytree(config.run_dir, one_run["run"])
    else:
        shutil.copytree(one_run["run"], config.run_dir)
    return config


def test_every_damaged_byte_of_a_state_is_noticed(done_run):
    folder = RunFolder(done_run.run_dir)
    whole = folder.state.read_bytes()
    state = folder.read_state()
    moments = random.Random(0)
    noticed = 0
    for _ in range(60):
        position = moments.randrange(len(whole))
        damaged = bytearray(whole)
        damaged[position] ^= 1 << moments.randrange(8)
        folder.state.write_bytes(damaged)
        try:
            found = folder.read_state()
        except UserError as error:
            assert "state.pt is damaged" in str(error)
            noticed += 1
        else:  # a byte of padding
            assert all(torch.equal(v, found["network"][k]) for k, v in state["network"].items())
            assert all(torch.equal(v, found["ema"][k]) for k, v in state["ema"].items())
    assert noticed > 30


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("seen_images", "8"),
        ("seen_images", -8),
        ("seconds", None),
        ("network", {}),
        ("network", []),
        ("ema", {"stem.1.weight": torch.zeros(3)}),
        ("optimizer", {"state": {}, "param_groups": []}),
        ("optimizer", {"state": {0: {}}, "param_groups": "whole"}),
        ("scaler", 1),
        ("meter", {"sums": {"total": "much"}, "steps": 1}),
        ("heldout_terms", {"total": "little"}),
        ("skipped", {1: "a"}),
        ("inputs", {}),
        ("inputs", None),
        ("rng", torch.zeros(3)),
        ("rng", None),
        ("network", "missing"),
    ],
)
def test_a_state_of_wrong_types_is_refused_in_one_line(done_run, entry: str, value: object):
    folder = RunFolder(done_run.run_dir)
    state = folder.read_state()
    if value == "missing":
        del state[entry]
    elif value == {"state": {0: {}}, "param_groups": "whole"}:
        state["optimizer"] = {**state["optimizer"], "state": {0: {}}}
    else:
        state[entry] = value
    folder.write_state(state)
    run = Run(StyleTask, done_run, World(), torch.device("cpu"))
    before = copy.deepcopy(run.task.descent.network.state_dict())
    with pytest.raises(UserError, match="state.pt is damaged, or was written by another version"):
        run.load_state_dict(folder.read_state())
    assert all(torch.equal(v, before[k]) for k, v in run.task.descent.network.state_dict().items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state["ema"]["stem.1.weight"].fill_(torch.nan),
        lambda state: state["network"]["stem.1.weight"].fill_(torch.inf),
        lambda state: state["optimizer"]["state"][0]["exp_avg"].fill_(torch.nan),
        lambda state: state["style_weight"].fill_(torch.nan),
        lambda state: state.update(seconds=float("nan")),
        lambda state: state["meter"]["sums"].update(total=torch.zeros(2)),
        lambda state: state["meter"].update(steps=-1),
        lambda state: state["rng"].fill_(255),
        lambda state: state["ema"].update(
            {"stem.1.weight": state["ema"]["stem.1.weight"].to_sparse()}
        ),
    ],
)
def test_a_state_of_unusable_values_is_refused_in_one_line(
    done_run, damage: Callable[[dict[str, Any]], object]
):
    folder = RunFolder(done_run.run_dir)
    state = folder.read_state()
    damage(state)
    folder.write_state(state)
    run = Run(StyleTask, done_run, World(), torch.device("cpu"))
    before = copy.deepcopy(run.task.descent.network.state_dict())
    with pytest.raises(UserError, match="state.pt is damaged"):
        run.load_state_dict(folder.read_state())
    assert all(torch.equal(v, before[k]) for k, v in run.task.descent.network.state_dict().items())


def test_the_optimizer_s_settings_are_the_configuration_s(done_run):
    """Those of a damaged state could make Adam fail in its first step."""
    folder = RunFolder(done_run.run_dir)
    state = folder.read_state()
    run = Run(StyleTask, done_run, World(), torch.device("cpu"))
    run.load_state_dict(copy.deepcopy(state))
    expected = run.task.descent.optimizer.state_dict()["param_groups"]
    state["optimizer"]["param_groups"][0] |= {"amsgrad": True, "betas": (2.0, -1.0)}
    run.load_state_dict(state)
    assert run.task.descent.optimizer.state_dict()["param_groups"] == expected


def test_a_compressed_state_is_refused(done_run):
    """It could unpack to any size; torch never compresses."""
    state = RunFolder(done_run.run_dir).state
    with zipfile.ZipFile(state) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(state, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
        archive.writestr("archive/data/more", bytes(10_000_000))
    with pytest.raises(UserError, match="state.pt is damaged"):
        RunFolder(done_run.run_dir).read_state()


@pytest.mark.parametrize("found", [[], "text", 3, None])
def test_a_state_that_is_not_a_dict_is_refused(done_run, found: object):
    torch.save(found, RunFolder(done_run.run_dir).state)
    with pytest.raises(UserError, match="state.pt is damaged"):
        train(done_run)


@pytest.mark.parametrize(
    "damage",
    [
        '{"seen_images": 16, "secon',
        "\0" * 200,
        "\0" * 200 + "\n",
        "[1, 2]\n",
        '{"seen_images": "16"}\n',
        '{"seen_images": null}\n',
        '{"seconds": 3}\n',
        '{"seen_images": 16, "seconds": {}}\n',
        '{"seen_images": 16, "seconds": NaN}\n',
        '{"seen_images": 16, "seconds": ' + "9" * 400 + "}\n",
        "[" * 100_000 + "\n",
        "\udcff\n",
    ],
)
def test_damaged_lines_of_the_metrics_are_dropped(tmp_path: Path, damage: str):
    folder = RunFolder(tmp_path)
    for seen in (8, 16):
        folder.append_metrics({"seen_images": seen, "seconds": seen / 2, "total": 1.5})
    whole = folder.metrics.read_bytes()
    with folder.metrics.open("ab") as file:
        file.write(damage.encode("utf-8", "surrogateescape"))
    assert folder.training_seconds(100) == 8
    folder.trim_metrics(16)
    assert folder.metrics.read_bytes() == whole
    folder.trim_metrics(8)
    assert [json.loads(line)["seen_images"] for line in whole.splitlines()[:1]] == [8]
    assert folder.metrics.read_bytes() == whole.splitlines(keepends=True)[0]


ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
"""YAML of a few hundred bytes that grows to gigabytes."""


@pytest.mark.parametrize(
    "damage",
    ["\0\0", "[1, 2]", "a: [", "", "\udcff", "[" * 50_000, ALIASES],
    ids=["NULs", "list", "cut", "empty", "bytes", "nested", "aliases"],
)
def test_a_damaged_configuration_is_refused_in_one_line(done_run, damage: str):
    folder = RunFolder(done_run.run_dir)
    folder.config.write_bytes(damage.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="config.yaml is missing or damaged"):
        folder.refuse_other_run(done_run)


def test_a_run_without_its_configuration_is_refused(done_run):
    """Or it would resume with any loss and schedule."""
    folder = RunFolder(done_run.run_dir)
    folder.config.unlink()
    with pytest.raises(UserError, match="config.yaml is missing or damaged: restore it"):
        train(done_run)


def test_a_run_resumes_after_power_was_lost_while_metrics_were_written(done_run):
    folder = RunFolder(done_run.run_dir)
    before = folder.metrics.read_bytes()
    folder.metrics.write_bytes(before + b"\0" * 50)
    assert train(done_run) == 0
    assert folder.metrics.read_bytes() == before
