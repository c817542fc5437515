"""The benchmark of training steps: both kinds learn, and the report holds what was measured."""

import json
from pathlib import Path

import pytest
import torch

from fst.config import FastConfig, SlimConfig
from fst.data.batches import without_margin
from fst.errors import UserError
from fst.measuring.step_benchmark import OurStep, PlainStep, _config, benchmark_steps
from fst.networks.cost import count_flops, flops_of
from fst.training.distributed import World
from fst.training.run import Run
from fst.training.style import StyleTask


def test_both_steps_descend_the_same_loss(tmp_path: Path):
    config = _config(FastConfig(width=8, coarse_width=8), SlimConfig(), 2, 32, "cpu", tmp_path)
    config.optimizer.warmup_fraction = 0
    run = Run(StyleTask, config, World(), torch.device("cpu"))
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    plain, ours = PlainStep(run), OurStep(run)
    content = without_margin(images / 255, config.data.margin_px)

    def total(network: torch.nn.Module) -> float:
        with torch.no_grad():
            stylized = without_margin(network(images / 255), config.data.margin_px)
            return run.task.loss(stylized, content)["total"].mean().item()

    before = total(run.task.descent.network)
    assert total(plain.network) == pytest.approx(before, rel=1e-3)
    for _ in range(3):
        plain.step(images)
        ours.step(images)
    assert total(plain.network) < before
    assert total(run.task.descent.network) < before


def test_the_operations_of_a_step_are_those_of_its_convolutions(tmp_path: Path):
    config = _config(FastConfig(width=8, coarse_width=8), SlimConfig(), 2, 32, "cpu", tmp_path)
    plain = PlainStep(Run(StyleTask, config, World(), torch.device("cpu")))
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    (first,) = (w for w in plain.network.parameters() if w.ndim == 4 and w.shape[1] == 3 * 4 * 4)
    of_first = 2 * first.numel() * (64 // 4) ** 2
    forward = count_flops(plain.network, 64, 64)
    # Backward costs a pass to the weights and one to the inputs, which the picture does not need.
    assert flops_of(plain.network_alone, images) == 2 * (3 * forward - of_first)
    assert flops_of(plain.step, images) == 2 * flops_of(plain.step, images[:1])


def test_the_report_holds_the_shares(fst_here, known_machine, tmp_path: Path):
    done = fst_here(
        "benchmark-training", "--networks", "fast", "--batch", 1, "--crop", 32,
        "--rounds", 2, "--device", "cpu", "-o", "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "training.md").read_text() in done.stdout
    plain, ours = json.loads((tmp_path / "out" / "training.json").read_text())["rows"]
    assert plain["times_plain"] == 1
    assert ours["times_plain"] == pytest.approx(plain["seconds"] / ours["seconds"])
    shares = plain["matmul_share"], ours["matmul_share"]
    assert shares[1] / shares[0] == pytest.approx(ours["times_plain"])
    assert min(ours["network_share"], ours["loss_share"]) > 0  # beside other work they may exceed 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"networks": ["nice"]}, "unknown network 'nice'"),
        ({"loss_network": "vgg19"}, "unknown loss network 'vgg19'"),
        ({"batch_size": 0}, "must be at least 1"),
    ],
)
def test_mistakes_are_the_users(given, said):
    with pytest.raises(UserError, match=said):
        benchmark_steps(**({"networks": ["fast"]} | given))
