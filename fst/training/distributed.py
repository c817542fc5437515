"""Several processes, as started by `torchrun`: their ranks, and what they exchange."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from fst.errors import TrainingStoppedError


@dataclass(frozen=True)
class World:
    """This process among all: `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to the user."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all processes, the same in each."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over all processes, the same in each."""
        return self.total(values) / self.size

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set in any process. All must call it."""
        if self.size == 1:
            return flag
        flags = torch.tensor(float(flag))  # on the CPU: it must not wait for a GPU's work
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags.item())

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def process_group() -> Iterator[World]:
    """Join the processes of `torchrun` (gloo, and NCCL for CUDA tensors); alone, do nothing.

    Raises:
        TrainingStoppedError: another of them has ended, which said why if it could.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(dist.get_rank(), size)
    except RuntimeError as error:
        # NCCL's errors have a type; gloo's are recognised by the file that raises them.
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise TrainingStoppedError(
            f"another of the {size} processes of this training has ended: see what it said; the "
            "same command resumes from the last save"
        ) from error
    finally:
        dist.destroy_process_group()
