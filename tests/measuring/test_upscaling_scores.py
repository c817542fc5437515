"""Scores of super-resolution: the published figures of bicubic, and the report."""

import json
from pathlib import Path

import pytest
from samples import SHARED, draw_picture

from fst.config import FastUpscalerConfig
from fst.measuring.upscaling import evaluate_upscalers
from fst.models.model_file import describe, save_model
from fst.networks.upscaler import FastUpscaler


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = FastUpscaler(FastUpscalerConfig(factor=4, width=8, layers=1))
    save_model(tmp_path / "x4.safetensors", network, describe(network))
    return tmp_path / "x4.safetensors"


@pytest.mark.shared
def test_bicubic_reaches_its_published_figures(model: Path):
    folders = [SHARED / "data" / "super_resolution" / name for name in ("Set5", "Set14")]
    scores, _ = evaluate_upscalers([str(model)], folders)
    bicubic = [score for score in scores if score.model == "bicubic"]
    assert [round(score.psnr, 2) for score in bicubic] == [28.43, 26.00]
    assert [round(score.ssim, 4) for score in bicubic] == [0.8113, 0.7031]


def test_the_report(fst_here, model: Path, tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    draw_picture(tmp_path / "pictures" / "a.png", 1, 70, 66)
    done = fst_here("evaluate-upscaler", model, "--photographs", "pictures", "-o", "out")
    assert done.returncode == 0
    scores = json.loads((tmp_path / "out" / "upscaling.json").read_text())
    assert [score["model"] for score in scores] == ["bicubic", str(model)]
    # Untrained, it repeats pixels and corrects their colours.
    assert 10 < scores[1]["psnr"] < scores[0]["psnr"]
    assert scores[1]["colour"] < 1
    assert (tmp_path / "out" / "upscaling.png").is_file()
    assert "| bicubic | x4 | pictures | 1 |" in (tmp_path / "out" / "upscaling.md").read_text()


def test_nothing_to_judge_is_one_line(fst_here, model: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = fst_here("evaluate-upscaler", model, "--photographs", "empty")
    assert (done.returncode, "is not a folder with pictures" in done.stderr) == (2, True)
    draw_picture(tmp_path / "empty" / "a.png", 1, 20, 20)
    done = fst_here("evaluate-upscaler", model, "--photographs", "empty")
    assert (done.returncode, "is too small" in done.stderr) == (2, True)
