"""Trainings by two processes."""

import multiprocessing
import os
import socket
import subprocess
import sys

import torch


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
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fst.cli.train", "fst.training.registry", "fst.training.run"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        context.Process(target=_train, args=(rank, port, overrides), daemon=True)
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
