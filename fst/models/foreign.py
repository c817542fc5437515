"""Weights of other projects: the widespread PyTorch ports of Johnson's network (0-255 in and out).

Their files are pickles of state dicts, or of checkpoints that hold one.
"""

import re
from pathlib import Path

from torch import Tensor

from fst.errors import UserError
from fst.models.model_info import ModelInfo
from fst.weights_file import read_weights

_FOREIGN_LAYERS = {
    "conv1": "down.0", "in1": "down.1", "conv2": "down.3", "in2": "down.4",
    "conv3": "down.6", "in3": "down.7", "deconv1": "up.0.1", "in4": "up.1",
    "deconv2": "up.3.1", "in5": "up.4", "deconv3": "up.6",
}  # fmt: skip
_KEY = re.compile(
    r"(?:(?P<layer>(?:de)?conv\d)\.conv2d|(?P<norm>in\d)"
    r"|res(?P<block>[1-9]\d{0,2})\.(?:(?P<part>conv[12])\.conv2d|(?P<part_norm>in[12])))"
    r"\.(?P<kind>weight|bias)"
)
_ANCHOR = "deconv1.conv2d.weight"
_UNUSED = ("running_mean", "running_var", "num_batches_tracked")
"""What old versions of instance norm saved and never used."""


def read_foreign(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Return a state dict of the widespread port as the tensors of a `johnson`, and its arguments.

    Raises:
        UserError: it is not such a file.
    """
    state = read_weights(path, _ANCHOR)
    if not {f"{name}.conv2d.weight" for name in ("conv1", "deconv1", "deconv3")} <= state.keys():
        raise _unknown_layout(path)
    if not state["conv1.conv2d.weight"].ndim:
        raise _unknown_layout(path)
    tensors = {
        _own_name(key, path): value for key, value in state.items() if not key.endswith(_UNUSED)
    }
    # They take and return 0-255.
    for name, factor in (("down.0.weight", 255), ("up.6.weight", 1 / 255), ("up.6.bias", 1 / 255)):
        if name in tensors:  # what is missing is reported with everything else that does not fit
            tensors[name] = tensors[name].float() * factor
    arguments = {
        "width": state["conv1.conv2d.weight"].shape[0],
        "residual_blocks": sum(key.endswith(".conv1.conv2d.weight") for key in state),
        "norm": "instance",
        "upsample": "nearest",
        "output": "clamp",
    }
    return tensors, ModelInfo("johnson", arguments, title=path.stem)


def _own_name(key: str, path: Path) -> str:
    """Turn `res2.conv1.conv2d.weight` into `residual.1.conv1.weight`."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise _unknown_layout(path)
    layer = match["layer"] or match["norm"]
    if layer is not None:
        if layer not in _FOREIGN_LAYERS:
            raise _unknown_layout(path)
        return f"{_FOREIGN_LAYERS[layer]}.{match['kind']}"
    part = match["part"] or match["part_norm"].replace("in", "norm")
    return f"residual.{int(match['block']) - 1}.{part}.{match['kind']}"


def _unknown_layout(path: Path) -> UserError:
    return UserError(f"{path} is not a state dict of a known style transfer network")
