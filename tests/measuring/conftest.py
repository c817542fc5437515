"""What the tests of measurements share."""

from pathlib import Path

import pytest
import torch

from fst.config import JohnsonConfig
from fst.measuring import benchmark, step_benchmark
from fst.measuring.machine import Machine
from fst.networks.johnson import Johnson

PORT_NAMES = {
    "down.0": "conv1.conv2d", "down.1": "in1", "down.3": "conv2.conv2d", "down.4": "in2",
    "down.6": "conv3.conv2d", "down.7": "in3", "up.0.1": "deconv1.conv2d", "up.1": "in4",
    "up.3.1": "deconv2.conv2d", "up.4": "in5", "up.6": "deconv3.conv2d",
    "residual.0.conv1": "res1.conv1.conv2d", "residual.0.norm1": "res1.in1",
    "residual.0.conv2": "res1.conv2.conv2d", "residual.0.norm2": "res1.in2",
}  # fmt: skip
"""Layers of `Johnson` under the names of the widespread PyTorch port."""


@pytest.fixture
def foreign_model(tmp_path: Path) -> Path:
    """A state dict as other projects write it, which says nothing of any training."""
    network = Johnson(JohnsonConfig(width=4, residual_blocks=1, output="clamp"))
    state = {}
    for name, value in network.state_dict().items():
        layer, _, kind = name.rpartition(".")
        state[f"{PORT_NAMES[layer]}.{kind}"] = value
    path = tmp_path / "mosaic.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose rates are known: measuring them takes seconds."""
    machine = Machine("a machine", 1, torch.__version__, {"fp32": 50.0}, None)
    for module in (benchmark, step_benchmark):
        monkeypatch.setattr(module, "measure_machine", lambda device: machine)
