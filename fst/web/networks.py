"""A model's files on the page: its network, the values of its styles, its predictor; each tested.

Pictures go in as (N, 3, H, W) in [0, 1] of any size, fp32 throughout. Weights are stored as fp16
where that holds them exactly.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fst.models.export import Agreement, agree, quiet, refuse_if_apart
from fst.models.export_options import ExportOptions
from fst.models.half_weights import store_in_half
from fst.models.model import Model
from fst.models.onnx_export import export_onnx, export_styled
from fst.models.onnx_session import OnnxSession
from fst.models.painting_export import export_predictor
from fst.models.standalone import values_of
from fst.networks.styled import StyledNetwork

STRENGTHS = (0.5, 1.0, 1.5)
"""At which a predictor is tested."""


def write_network(model: Model, path: Path, picture: Tensor) -> None:
    """Write a network of one style, and test it on a picture, (1, 3, H, W) in [0, 1].

    Raises:
        UserError: its pictures differ from the network's.
    """
    network = model.stylizer
    with quiet():
        export_onnx(path, network, model.info, ExportOptions())
        store_in_half(path)
        refuse_if_apart(path.name, agree(path, network, picture))


def write_styled(model: Model, path: Path, picture: Tensor) -> Tensor:
    """Write a network of several styles, the values of a style being its second input.

    Returns:
        The values of its styles, (K, V).

    Raises:
        UserError: its pictures differ from the network's.
    """
    network = styled(model)
    with quiet():
        export_styled(path, network, f"{model.info.title}, {len(network.codes)} styles by fst")
        store_in_half(path)
        values = values_of(network)
        stylize = _session(path)
        if len(values):  # a model that takes any painting may have no styles yet
            shares = torch.full((len(values),), 1 / len(values))
            blended, expected = stylize(picture, shares @ values), network.fold(shares)(picture)
            refuse_if_apart(path.name, [Agreement.of(blended, expected)])
    return values


def write_predictor(model: Model, path: Path, network: Path, picture: Tensor) -> None:
    """Write the predictor of a network that is written, and test them together on a picture.

    Raises:
        UserError: the pictures differ from those of `Model.predict`.
    """
    info = model.info
    with quiet():
        export_predictor(path, styled(model), info.predictor_px, info.palette_share)
        store_in_half(path)
        predict, stylize = OnnxSession(path, ["CPUExecutionProvider"]), _session(network)
        painted = model.predict([picture])
        shares = torch.eye(len(painted.codes))[-1]
        agreements = []
        for strength in STRENGTHS:
            inputs = {"painting": picture.numpy(), "strength": np.array([strength], np.float32)}
            values = torch.from_numpy(predict.run(inputs, picture[0, 0].numel()))
            expected = painted.fold(shares, 2 * (strength - 1))(picture)
            agreements.append(Agreement.of(stylize(picture, values[0]), expected))
        refuse_if_apart(path.name, agreements)


def styled(model: Model) -> StyledNetwork:
    """Return the network of a model of several styles."""
    assert isinstance(model.network, StyledNetwork)
    return model.network


def _session(path: Path) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a network that is written as a function of pictures and the values (V,) of a style."""
    session = OnnxSession(path, ["CPUExecutionProvider"])

    def stylize(image: Tensor, values: Tensor) -> Tensor:
        inputs = {"image": image.numpy(), "values": values.expand(len(image), -1).numpy()}
        return torch.from_numpy(session.run(inputs, image.numel() // 3))

    return stylize
