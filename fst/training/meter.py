"""Means of what each training step measures."""

from typing import Any

import torch
from torch import Tensor

from fst.training.distributed import World


class Meter:
    """Means of named scalars over steps, kept on their device until they are read."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self.sums: dict[str, Tensor] = {}
        self.steps = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Add the values of one step, without synchronizing with the device."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float()
        self.steps += 1

    def means(self, world: World) -> dict[str, float]:
        """Return the means over steps and processes."""
        stacked = world.mean(torch.stack(list(self.sums.values())) / self.steps)
        return dict(zip(self.sums, stacked.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to resume."""
        return {"sums": self.sums, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from what `state_dict` returned."""
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.steps = state["steps"]
