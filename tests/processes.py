"""Commands and trainings in processes of their own, forked from one that has imported torch."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "datasets", "fst.cli.app", "fst.cli.train", "fst.serve.server", "fst.training.registry",
        "fst.training.run", "torch._dynamo", "torch.utils.tensorboard",
    ]
)  # fmt: skip


class Started:
    """`fst ARGUMENTS` in a process and session of its own, which imports nothing when it starts."""

    def __init__(
        self, arguments: list[str], folder: Path, before: Callable[[], None] | None = None
    ) -> None:
        """Start it; `before` is called in it first."""
        self.out, self.error = folder / "stdout", folder / "stderr"
        for file in (self.out, self.error):
            file.write_text("")
        given = (arguments, dict(os.environ), (self.out, self.error), before)
        self.process = _FORKS.Process(target=_run, args=given)
        self.process.start()

    def wait_for(self, text: str) -> None:
        """Wait until it has written a text to its standard output."""
        while text not in self.out.read_text():
            assert self.process.is_alive(), self.error.read_text()
            time.sleep(0.02)

    def end(self) -> tuple[int | None, str, str]:
        """Wait for its end; return its exit status, and what it wrote to both streams."""
        self.process.join(60)
        status = self.process.exitcode
        if status is None:
            self.process.kill()
        return status, self.out.read_text(), self.error.read_text()


def _run(
    arguments: list[str],
    environment: dict[str, str],
    streams: tuple[Path, Path],
    before: Callable[[], None] | None,
) -> None:
    from fst.cli.app import main

    os.environ.clear()
    os.environ.update(environment)  # the first one's would be that of all
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # of data workers, as in a command
    for number, file in enumerate(streams, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), number)
    torch.set_num_threads(1)
    if before:
        before()
    sys.argv = ["fst", *arguments]
    main()


def train_by_torchrun(overrides: list[str]) -> None:
    """Train what the overrides of `fst train` say as users do; three processes import torch."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    done = subprocess.run(
        [*launch, "-m", "fst", "train", *overrides],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def train_by_two(overrides: list[str]) -> None:
    """Train the same in two processes like torchrun's, forked from one that has imported torch."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        _FORKS.Process(target=_train, args=(rank, port, overrides), daemon=True)
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]


def _train(rank: int, port: int, overrides: list[str]) -> None:
    from fst.cli.train import compose_training
    from fst.training.registry import train

    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(address, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    sys.exit(train(compose_training(overrides)))
