"""Sweeps whose runs other processes do: Hydra's joblib and submitit launchers."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException
from PIL import Image
from samples import draw_picture

from fst.cli.hydra_command import _explain
from fst.models.model_file import read_model

pytest.importorskip("submitit", reason="the extra `sweep` is not installed")
from submitit.core.core import Job  # noqa: E402


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads add in another order, and Hydra's launchers choose how many there are."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def sweep(
    tiny_overrides: list[str], fst_here, one_thread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Run `fst train -m` over two tiny styles; the launchers start processes of their own."""
    # It waits 15 seconds for the result of a failed job, because its file system may be slow.
    monkeypatch.setattr(Job, "_results_timeout_s", 0)
    changed = ("style=", "name=", "training.images", "loss_network.")
    fixed = [override for override in tiny_overrides if not override.startswith(changed)]
    styles = [draw_picture(tmp_path / f"style{i}.png", 100 + i, 72, 72) for i in range(2)]
    of_all = ["training.images=8", "loss_network=slim", *fixed]

    def run(launcher: str, *overrides: str, jobs: int = 2) -> subprocess.CompletedProcess[str]:
        swept = "style=" + ",".join(map(str, styles[:jobs]))
        return fst_here("train", "-m", f"hydra/launcher={launcher}", swept, *of_all, *overrides)

    return run


def test_styles_at_once_are_the_styles_one_by_one(sweep, fst_here, tmp_path: Path):
    launchers = ("basic", "joblib", "submitit_local")
    for name in launchers:
        done = sweep(name, f"runs_dir={tmp_path / name}")
        assert done.returncode == 0, done.stderr
    for i in range(2):
        alone, *at_once = (
            read_model(tmp_path / name / f"style{i}" / "model.safetensors").network.state_dict()
            for name in launchers
        )
        for trained in at_once:
            torch.testing.assert_close(trained, alone)
    runs = [tmp_path / "submitit_local" / f"style{i}" for i in range(2)]
    compared = fst_here("compare", *runs, "--images", 2, "--size", 48, "-o", "sheet")
    assert compared.returncode == 0, compared.stderr
    table = json.loads((tmp_path / "sheet" / "comparison.json").read_text())
    assert len(table["runs"]) == 2
    with Image.open(tmp_path / "sheet" / "comparison.jpg") as sheet:
        assert sheet.width > 2 * 48  # a column for each style


def test_a_failed_job_is_one_line(sweep, tmp_path: Path):
    done = sweep("submitit_local", f"data.path={tmp_path / 'gone'}", jobs=1)
    assert done.returncode == 1
    assert "a run of the sweep failed: data.path=" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_launcher_names_the_extra():
    error = HydraException(
        "In 'hydra/config': Could not find 'hydra/launcher/joblib'\n\n"
        "Available options in 'hydra/launcher':\n\tbasic\nConfig search path:\n\tprovider=hydra"
    )
    assert _explain(error, "train") == (
        "hydra/launcher=joblib needs: pip install 'fst-style-transfer[sweep]'"
    )
