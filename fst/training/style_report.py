"""What the model file and the terminal say of a training on style."""

import dataclasses

from torch import nn

from fst.config import TrainConfig
from fst.losses.objective import Objective
from fst.models.model_file import describe
from fst.models.model_info import ModelInfo
from fst.networks.cost import count_flops, count_parameters
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.training.task import Task

WORST = 3
"""Styles that are named at the end because their held-out total is highest."""


def describe_style(
    model: nn.Module, config: TrainConfig, seen_images: int, terms: dict[str, float]
) -> ModelInfo:
    """Return what the model file says of the training."""
    assert isinstance(model, TransformerNetwork | StyledNetwork)
    return describe(
        model,
        title=config.style.title or "",
        seen_images=seen_images,
        losses=terms,
        loss_network=config.loss_network.name,
        training_config=dataclasses.asdict(config),
    )


def about_style(
    task: Task, transformer: TransformerNetwork, style: str, heldout_loss: Objective
) -> list[str]:
    """Return lines that describe a run.

    Args:
        task: what is trained.
        transformer: its network for pictures.
        style: what it is trained on, in words.
        heldout_loss: by which it is validated.
    """
    context, network = task.context, task.descent.network
    config: TrainConfig = context.config
    lines = [
        f"{config.network.name} network: {count_parameters(network):,} parameters, "
        f"{count_flops(transformer, 512, 512) / 1e9:.1f} GFLOP at 512x512",
        context.data.summary,
        f"{style}, {config.loss.name} loss, loss network {config.loss_network.name}; "
        f"on {context.device}, {context.world.size} process(es), {task.descent.precision}",
    ]
    if len(context.heldout):
        lines.append(
            "objective is weighted by this run's settings, heldout/total by the defaults of "
            f"loss={heldout_loss.loss.config.name}: compare heldout/total between runs, not "
            "with objective"
        )
    return lines


def worst_styles(totals: dict[str, float]) -> list[str]:
    """Return a line with the styles of the highest held-out totals, if there are several."""
    worst = sorted(totals.items(), key=lambda entry: -entry[1])[:WORST]
    return [f"worst styles   {', '.join(f'{k} {v:.3f}' for k, v in worst)}"] if worst else []
