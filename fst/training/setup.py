"""What a run starts with: its losses, and the weights of a trained model."""

from collections.abc import Collection, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from fst.config import LossNetworkConfig, MomentsLossConfig, TrainConfig
from fst.errors import UserError
from fst.losses.loss_network import LossNetwork, load_loss_network
from fst.losses.perceptual import PerceptualLoss
from fst.losses.registry import LOSSES
from fst.losses.relative import MomentsLoss
from fst.models.model import Model
from fst.models.model_file import read_model
from fst.models.model_name import refuse_style
from fst.models.model_ref import find_model
from fst.networks.registry import network_name
from fst.networks.styled import StyledNetwork, in_style
from fst.networks.transformer import TransformerNetwork
from fst.networks.upscaler import Upscaler
from fst.report import few
from fst.terminal import note
from fst.training.distributed import World
from fst.training.resumable import fingerprint
from fst.training.style_pictures import Style
from fst.training.task import Context

Trainable: TypeAlias = TransformerNetwork | Upscaler


def build_losses(
    config: TrainConfig, world: World, device: torch.device
) -> tuple[PerceptualLoss, PerceptualLoss]:
    """Return the training loss, and the one for held-out pictures, the same in every run.

    Args:
        config: the run's configuration.
        world: see `load_in_turn`.
        device: where they measure.
    """
    validating = MomentsLossConfig()
    layers = {
        config.loss.content_layer,
        *config.loss.style_layers,
        validating.content_layer,
        *validating.style_layers,
    }
    network = load_in_turn(config.loss_network, layers, world, device)
    return LOSSES[config.loss.name](network, config.loss), MomentsLoss(network, validating)


def style_inputs(
    context: Context, styles: Sequence[Style], loss_network: LossNetwork
) -> dict[str, str]:
    """Return the hashes of what a training on style depends on, by what it is in words."""
    return {
        "the pictures in data.path": context.data.fingerprint,
        "the held-out pictures": fingerprint([context.data.heldout]),
        "the pixels of the style": "".join(style.fingerprint for style in styles),
        "the weights of the loss network": fingerprint(loss_network.state_dict().values()),
    }


def load_in_turn(
    config: LossNetworkConfig, layers: Collection[str], world: World, device: torch.device
) -> LossNetwork:
    """Return a loss network on the device; the main process downloads while the others wait."""
    if not world.is_main:
        world.barrier()
    network = load_loss_network(config, layers).to(device)
    if world.is_main:
        world.barrier()
    return network.to(memory_format=torch.channels_last)


def start_from(network: Trainable, init: str, paintings: Sequence[Tensor] = ()) -> None:
    """Load the weights of a trained model into a network.

    Args:
        network: what is trained.
        init: the model, as the user named it. One that takes any painting, without a choice, is
            taken in the style that it predicts for `paintings`.
        paintings: of the style that is trained, each (1, 3, H, W) in [0, 1].

    Raises:
        FileNotFoundError: there is no such model.
        UserError: the model has another architecture.
    """
    model, choice = open_init(init)
    if isinstance(network, Upscaler):
        trained = model.upscaler
        refuse_style(model.path, choice)
        take_weights(network, trained, init)
    elif model.predicts and not choice:
        take_weights(network, in_style(model.predict(paintings), -1), init)
    else:
        take_weights(network, model.in_style(choice, note).stylizer, init)


def start_styles_from(styled: StyledNetwork, styles: Sequence[Style], init: str) -> None:
    """Load the weights of a trained model into a network of several styles.

    One that takes any painting gives what it predicts for each. A model of several styles gives
    what it knows of those with these names; the others start from its base. A model of one style is
    the base.

    Raises:
        FileNotFoundError: there is no such model.
        UserError: the model has another architecture, or none of the styles.
    """
    model, choice = open_init(init)
    of_several, info = model.network, model.info
    if choice or not isinstance(of_several, StyledNetwork):
        take_weights(styled.network, model.in_style(choice, note).stylizer, init)
        return
    take_weights(styled.network, of_several.network, init)
    if model.predicts:
        with torch.no_grad():
            predicted = [model.predict(style.pictures).vectors()[-1] for style in styles]
            styled.residuals.add_(torch.stack(predicted) - styled.vectors())
        return
    check_sizes(init, of_several, styled)
    names = [style.name for style in styles]
    known = {style.name: number for number, style in enumerate(info.styles)}
    shared = [(here, known[name]) for here, name in enumerate(names) if name in known]
    if not shared:
        raise UserError(
            f"init={init} has none of the styles of this run ({few(names)}): begin with "
            f"one of its styles instead, init={init}:STYLE"
        )
    styled.mapper.load_state_dict(of_several.mapper.state_dict())
    here, there = (torch.tensor(numbers) for numbers in zip(*shared, strict=True))
    with torch.no_grad():
        styled.codes[here] = of_several.codes[there]
        styled.residuals[here] = of_several.residuals[there]


def check_sizes(init: str, trained: StyledNetwork, styled: StyledNetwork) -> None:
    """Raise UserError if a model's codes or mapper have other sizes than the run's."""
    if trained.sizes != styled.sizes:
        raise UserError(
            f"init={init} has codes of {trained.sizes[0]} values and a mapper of "
            f"{trained.sizes[1]}, and this run trains {styled.sizes[0]} and {styled.sizes[1]}: "
            "init requires the same architecture"
        )


def open_init(init: str) -> tuple[Model, str]:
    """Return the model to start from, with all of its styles, and what is chosen of them.

    Raises:
        FileNotFoundError: there is none; the message names `init`.
    """
    try:
        ref = find_model(init, note)
        return read_model(ref.path), ref.choice
    except FileNotFoundError as error:
        raise FileNotFoundError(f"init={init}: {error}") from error


def take_weights(network: Trainable, trained: Trainable, init: str) -> None:
    """Load a trained network's weights; raise UserError if it has another architecture."""
    if (type(trained), trained.arguments) != (type(network), network.arguments):
        raise UserError(
            f"init={init} is {_shape(trained)}, and this run trains {_shape(network)}: "
            "init requires the same architecture"
        )
    network.load_state_dict(trained.state_dict())


def _shape(network: Trainable) -> str:
    """Return a network's name and arguments in the command line's notation."""
    arguments = {"network": network_name(network).removesuffix("_upscaler")} | {
        f"network.{key}": value for key, value in network.arguments.items()
    }
    return " ".join(f"{key}={value}" for key, value in arguments.items())
