"""What is trained: its networks, their optimizers and losses, how it is validated and described.

A `Run` steps, reports, saves, stops and resumes; it knows nothing of styles or super-resolution.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fst.config import RunConfig
from fst.data.batches import Data
from fst.data.sources import Skipped
from fst.device import autocast, training_precision
from fst.models.model_info import ModelInfo
from fst.training.descent import Descent
from fst.training.distributed import World
from fst.training.run_folder import RunFolder
from fst.training.schedule import update_average


@dataclass
class Context:
    """What a run gives its task."""

    config: Any
    """The run's configuration: a `RunConfig`, of the kind that the task is for."""
    world: World
    device: torch.device
    folder: RunFolder
    data: Data
    heldout: Tensor
    """The held-out photographs, uint8 (N, 3, S, S), on the device."""
    stopping: Callable[[], bool]
    """Says whether a stop is requested."""
    skipped: Skipped = field(default_factory=list)
    """Where a task puts the pictures that a step could not use."""

    @property
    def resumes(self) -> bool:
        """Whether the run's folder holds a state, which has all weights."""
        return self.folder.state.exists()

    @property
    def compiles(self) -> bool:
        """Whether steps are compiled."""
        chosen = self.config.training.compile
        return self.device.type == "cuda" if chosen is None else bool(chosen)


@dataclass
class Validation:
    """How good a model is on pictures it was not trained on."""

    terms: dict[str, float]
    """The loss's terms by name, means over pictures and styles."""
    sheet: Tensor
    """The contact sheet, (1, 3, H, W) in [0, 1]."""
    totals: dict[str, float] = field(default_factory=dict)
    """Of a network of several styles: the loss of each by the style's name."""


class Task(ABC):
    """A network to train, and what training it means.

    A task that needs a second network, such as a discriminator, adds a `Descent` for it to
    `others` and steps it in `step`; it is saved and resumed like the first.
    """

    inputs: dict[str, str]
    """Hashes of what must not change before a run resumes, by what it is in words."""

    def __init__(self, context: Context) -> None:
        """Prepare to train; a task then begins with its network."""
        self.context = context
        self.device = context.device
        self.others: dict[str, Descent] = {}

    def begin_with(self, network: nn.Module) -> None:
        """Take the network that is trained, and whose average becomes the model."""
        self.descent = self.descent_of(network)
        self.average = copy.deepcopy(self.descent.network).eval().requires_grad_(False)

    def descent_of(self, network: nn.Module) -> Descent:
        """Return what trains a network as the run's configuration says."""
        context = self.context
        config: RunConfig = context.config
        precision = training_precision(config.training.precision, context.device)
        return Descent(
            network, config.optimizer, precision, context.world, context.device, context.compiles
        )

    @property
    def descents(self) -> list[Descent]:
        """All networks that are trained, with their optimizers."""
        return [self.descent, *self.others.values()]

    def step(self, images: Tensor, position: int) -> dict[str, Tensor] | None:
        """Train on a batch, and return the means of what was measured.

        Args:
            images: this process's share of the batch, uint8 (N, 3, S, S).
            position: the number of images seen before the first of them.

        Returns:
            Scalars by name; None if a gradient was not finite, and the step was skipped.
        """
        with autocast(self.device, self.descent.precision):
            terms = self.terms(images, position)
        gradient_norm = self.descent.step(terms["total"])
        if gradient_norm is None:
            return None
        self.after_step()
        return {**terms, "gradient_norm": gradient_norm}

    @abstractmethod
    def terms(self, images: Tensor, position: int) -> dict[str, Tensor]:
        """Return the named terms of a batch, scalars; `total` is minimised. Arguments as above."""

    def after_step(self) -> None:  # noqa: B027, most tasks adapt nothing
        """Adapt what follows from the last step."""

    def update_average(self, decay: float) -> None:
        """Move the average of the weights towards the weights."""
        update_average(self.average, self.descent.network, decay)

    def model(self) -> nn.Module:
        """Return the model as it stands: the average of the weights."""
        return self.average

    @abstractmethod
    def validate(self) -> Validation:
        """Measure the model on the held-out pictures."""

    @abstractmethod
    def describe(
        self, model: nn.Module, seen_images: int, terms: dict[str, float], totals: dict[str, float]
    ) -> ModelInfo:
        """Return what the model file says.

        Args:
            model: what is saved.
            seen_images: by the training.
            terms: those of the last `Validation`.
            totals: its totals.
        """

    @abstractmethod
    def about(self) -> list[str]:
        """Return lines that describe the run."""

    @abstractmethod
    def use(self, totals: dict[str, float]) -> list[str]:
        """Return lines that say what can be done with the result, given the last totals."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in training."""
        state = self.descent.state_dict() | {"ema": self.average.state_dict()}
        for name, descent in self.others.items():
            state |= {f"{name}.{key}": value for key, value in descent.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned; other keys are ignored."""
        self.descent.load_state_dict(state)
        self.average.load_state_dict(state["ema"])
        for name, descent in self.others.items():
            keys = descent.state_dict()
            descent.load_state_dict({key: state[f"{name}.{key}"] for key in keys})

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimizers by their keys in the state."""
        others = {f"{name}.optimizer": each.optimizer for name, each in self.others.items()}
        return {"optimizer": self.descent.optimizer, **others}
