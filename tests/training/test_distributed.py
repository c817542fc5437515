"""Several processes: what the others do when one is lost."""

import os
import socket
import subprocess
import sys

import pytest

from fst.errors import TrainingStoppedError
from fst.training import distributed
from fst.training.distributed import process_group

LOSES_RANK_1 = """
import os, signal
from fst.errors import one_line_errors
from fst.training.distributed import process_group

with one_line_errors("fst train"), process_group() as world:
    world.barrier()
    if world.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        world.any(False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_when_a_process_is_killed_the_others_end_in_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOSES_RANK_1],
            env={**os.environ, **address, "WORLD_SIZE": "2", "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert processes[1].returncode == -9
    assert processes[0].returncode == 1
    lines = [line for line in said[0].splitlines() if not line.startswith("[")]  # torch's own
    assert lines == [
        "fst train: another of the 2 processes of this training has ended: see what it said; the "
        "same command resumes from the last save"
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:545] Read error"), TrainingStoppedError),
        (distributed.dist.DistBackendError("NCCL error: remote"), TrainingStoppedError),
        (RuntimeError("shapes do not match"), RuntimeError),  # a bug keeps its traceback
    ],
)
def test_errors_of_the_connection_are_told_from_bugs(monkeypatch, error, expected):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(distributed.dist, name, lambda *_: None)
    monkeypatch.setattr(distributed.dist, "get_rank", lambda: 0)
    with pytest.raises(RuntimeError) as raised, process_group():
        raise error
    assert type(raised.value) is expected
