"""The `fst` command as a user meets it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import fst
from fst.config import FastConfig
from fst.models.model_file import describe, save_model
from fst.networks.fast import Fast


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Fast(FastConfig(width=8, residual_blocks=1))
    save_model(tmp_path / "model.safetensors", network, describe(network))
    return tmp_path / "model.safetensors"


@pytest.fixture
def run(fst_command, tmp_path: Path):
    def run_in_folder(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [*fst_command, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return run_in_folder


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP shows its own settings")
def test_threads_sleep_while_they_wait(run, model, photos, monkeypatch):
    monkeypatch.setenv("OMP_DISPLAY_ENV", "true")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in run("inspect", model).stderr


def test_one_picture_becomes_the_file_that_is_named(run, model, photos, tmp_path: Path):
    photo = photos / "00.png"
    done = run("stylize", model, photo, "-o", "out/result.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{photo} -> out/result.png"
    expected = fst.load(model)(fst.read_image(photo))
    result = fst.read_image(tmp_path / "out" / "result.png")
    assert (result - expected).abs().max() <= 0.5 / 255 + 1e-6


def test_several_pictures_go_into_a_folder(fst_here, model, photos, tmp_path: Path):
    done = fst_here("stylize", model, photos / "00.png", photos / "more" / "01.png", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["00.png", "01.png"]
    again = fst_here("stylize", model, photos / "00.png", photos / "02.png", "-o", "out")
    assert "1 already exist (use --overwrite to replace them)" in again.stdout


def test_quality_is_that_of_the_flag(fst_here, model, photos, tmp_path: Path):
    for quality in (90, 40):
        done = fst_here(
            "stylize", model, photos / "00.png", "-o", f"{quality}.jpg", "--quality", quality
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "40.jpg").stat().st_size < 0.7 * (tmp_path / "90.jpg").stat().st_size
    with Image.open(tmp_path / "90.jpg") as full, Image.open(tmp_path / "40.jpg") as halved:
        assert [layer[1:3] for layer in full.layer] == [(1, 1), (1, 1), (1, 1)]
        assert [layer[1:3] for layer in halved.layer] == [(2, 2), (1, 1), (1, 1)]  # 4:2:0


def test_range_is_that_of_the_flag(fst_here, model):
    done = fst_here("export", model, "-o", "a.onnx", "--range", "255", "--size", "64x48")
    assert done.returncode == 0, done.stderr
    assert "in [0, 255]" in fst_here("inspect", "a.onnx").stdout


def test_a_model_with_nan_weights_fails_and_writes_nothing(fst_here, photos, tmp_path: Path):
    network = Fast(FastConfig(width=8, residual_blocks=1))
    torch.nn.init.constant_(next(network.parameters()), float("nan"))
    save_model(tmp_path / "nan.safetensors", network, describe(network))
    done = fst_here("stylize", "nan.safetensors", photos / "00.png", "-o", "x.png")
    assert done.returncode == 2
    assert "not finite" in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_another_strength_says_how_to_replace_the_result(fst_here, model, photos):
    for strength, said in (("1", " -> x.png"), ("0.5", "--overwrite to replace them")):
        done = fst_here("stylize", model, photos / "00.png", "-o", "x.png", "--strength", strength)
        assert done.returncode == 0
        assert said in done.stdout


def test_sigterm_leaves_whole_files_and_a_summary(fst_command, model, photos, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for i in range(60):
        shutil.copy(photos / f"more/0{1 + 3 * (i % 3)}.png", tmp_path / "in" / f"{i:02}.png")
    command = [*fst_command, "stylize", str(model), "in", "-o", "out", "--size", "400"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        first = process.stdout.readline()
        assert first.startswith("in/00.png -> ")
        process.terminate()
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.endswith("fst: terminated\n")
    summary = said.splitlines()[-1]
    assert re.fullmatch(r"\d+ done, \d+ not done \(run the same command again to resume\)", summary)
    written = sorted((tmp_path / "out").iterdir())
    assert not [path for path in written if path.name.startswith(".")]
    for path in written:
        fst.read_image(path)


def test_mistakes_are_one_line_and_status_2(fst_here, model, photos, tmp_path: Path):
    photo = photos / "00.png"
    (tmp_path / "text.jpg").write_text("not a picture")
    for arguments, message in [
        (["stylize", "nowhere", photo, "-o", "x.png"], "no model nowhere"),
        (["stylize", model, tmp_path / "missing.jpg", "-o", "x.png"], "missing.jpg"),
        (["stylize", model, photo, "-o", photo, "--overwrite"], "would overwrite an input"),
        (["stylize", model, photo, "-o", model], "unknown suffix"),
        (["stylize", model, photo, "-o", "x.png", "--device", "banana"], "device 'banana'"),
        (["stylize", model, photo, "-o", "x.png", "--strength", "2"], "strength=2.0 must be in"),
        (["stylize", model, photo, "-o", "x.png", "--shard", "3/2"], "shard=3/2 must be K/N"),
        (["stylize", model, photo, "-o", "x.png", "--size", "0"], "size=0 must be at least 1"),
        (["stylize", model, tmp_path / "text.jpg", "-o", "x.png"], "text.jpg"),
        (["stylize", model, photo, "-o", "x.xyz"], ".xyz"),
        (["stylize", model, photo], "output"),
        (["stylize", model, "-o", "x.png"], "nothing to stylize"),
        (["stylize", model, photo, photo, "-o", "x"], "would both become x/00.png"),
        (["stylize", model, photo, "-o", "x.png", "--colour"], "--colour"),
        (["export", model, "-o", "x.tflite"], "cannot export to x.tflite"),
        (["export", model, "-o", "x.onnx", "--size", "wide"], "must be HEIGHTxWIDTH"),
        (["inspect", photo], "00.png"),
        (["paint"], "paint"),
    ]:
        done = fst_here(*arguments)
        assert done.returncode == 2, arguments
        assert message in done.stderr, arguments
        assert done.stderr.startswith("fst: ")
        assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "x.png").exists()


def test_help_shows_the_commands_and_their_flags(run):
    assert all(command in run("--help").stdout for command in ("train", "stylize"))
    assert "Stylize pictures and videos with a trained model." in run("stylize", "--help").stdout
    assert run("--version").stdout.strip() == fst.__version__


def test_the_stylizer_keeps_shape_type_and_refuses_other_tensors(model):
    stylize = fst.load(model, device="cpu")
    image = torch.rand(2, 3, 17, 30, dtype=torch.float64)
    assert stylize(image).dtype == torch.float64
    assert stylize(image).shape == image.shape
    with pytest.raises(ValueError, match="expected floats in"):
        stylize(torch.zeros(1, 3, 8, 8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"expected a picture \(N, 3, H, W\)"):
        stylize(torch.zeros(3, 8, 8))
