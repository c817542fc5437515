"""Devices, dtypes, TF32, free memory and where compiled code is kept."""

from pathlib import Path

import pytest
import torch

from fst import device
from fst.device import autocast, available_bytes, pick_device, tf32
from fst.errors import UserError


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_cuda_then_mps_then_the_cpu(monkeypatch, cuda: bool, mps: bool, expected: str):
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "set_device", lambda chosen: None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch, "empty", lambda *size, device: asked.append(device))
    assert pick_device().type == expected
    assert len(asked) == 1  # it was tried


def test_an_unknown_device_is_the_users_mistake():
    with pytest.raises(UserError, match="device .banana. is unknown; choose one of auto, cpu"):
        pick_device("banana")


def test_autocast_computes_in_the_named_dtype_and_fp32_ends_one_around_it():
    x, cpu = torch.rand(2, 2), torch.device("cpu")
    with autocast(cpu, "bf16"):
        assert (x @ x).dtype == torch.bfloat16
        with autocast(cpu, "fp32"):
            assert (x @ x).dtype == torch.float32


def settings() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def test_tf32_is_set_within_the_context_alone_and_nests():
    before, cuda = settings(), torch.device("cuda")
    with tf32(cuda, allowed=True):
        assert settings() == ("high", True)
        with tf32(cuda, allowed=False):
            assert settings() == ("highest", False)
        assert settings() == ("high", True)
    assert settings() == before


def test_tf32_stays_forbidden_until_the_last_of_several_threads_is_done():
    before, cuda = settings(), torch.device("cuda")
    first, second = tf32(cuda, allowed=False), tf32(cuda, allowed=False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert settings() == ("highest", False)
    second.__exit__(None, None, None)
    assert settings() == before


def test_tf32_leaves_the_cpu_unaffected():
    before = settings()
    with tf32(torch.device("cpu"), allowed=True):
        assert settings() == before


@pytest.mark.gpu
def test_fp32_convolutions_are_exact_without_tf32():
    x, kernel = torch.randn(1, 64, 64, 64), torch.randn(64, 64, 3, 3)
    expected = torch.nn.functional.conv2d(x.double(), kernel.double())
    with tf32(torch.device("cuda"), allowed=False):
        result = torch.nn.functional.conv2d(x.cuda(), kernel.cuda()).cpu()
    assert (result - expected).abs().max() < 1e-4 * expected.abs().max()


def test_free_memory_is_what_is_left_of_a_containers_limit(tmp_path: Path):
    assert available_bytes(torch.device("cpu")) > 1e8
    assert device._container_bytes(tmp_path) == []  # no cgroup
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert device._container_bytes(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert device._container_bytes(tmp_path) == [500]


@pytest.mark.parametrize("name", ["meta", "mkldnn", "xla", "privateuseone", "auto:1", "CPU", ""])
def test_a_device_that_computes_nothing_is_refused(name: str):
    with pytest.raises(UserError, match=f"^device '{name}' is unknown; choose one of auto, cpu"):
        pick_device(name)
