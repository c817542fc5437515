"""The snippets of scripts/deploy, run as a user runs them: their results match torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from samples import draw_picture

from fst.models.model_file import read_model

DEPLOY = Path(__file__).parents[2] / "scripts" / "deploy"


@pytest.fixture(params=[(64, 48), (67, 45), (5, 7)], ids="{0[0]}x{0[1]}".format)
def photo(request, tmp_path: Path) -> Path:
    return draw_picture(tmp_path / "photo.png", 3, *request.param)


def stylize_in_torch(model: Path, rgb: np.ndarray) -> np.ndarray:
    network = read_model(model).network
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255
    return (network(image)[0] * 255).round().byte().permute(1, 2, 0).numpy()


def assert_equal(result: Image.Image, model: Path, photo: Path) -> None:
    rgb = np.array(Image.open(photo))
    expected = stylize_in_torch(model, rgb).astype(int)
    assert expected.std() > 20, "too flat to tell results apart"
    assert result.mode == "RGB"
    assert (result.height, result.width) == rgb.shape[:2]
    assert np.abs(np.array(result) - expected).max() <= 1


def run_snippet(name: str, *arguments: str | Path) -> None:
    command = [sys.executable, str(DEPLOY / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_uint8_snippets_match_torch(
    runtime: str, bytes_model: Path, bytes_onnx: Path, photo: Path, tmp_path: Path
):
    pytest.importorskip(runtime)
    run_snippet(f"with_{runtime}.py", bytes_onnx, photo, tmp_path / "out.png")
    assert_equal(Image.open(tmp_path / "out.png"), bytes_model, photo)


@pytest.fixture(scope="session")  # as those of exports, which it comes before
def opencv() -> None:
    """Skip a test where OpenCV runs no model of dynamic sizes."""
    cv2 = pytest.importorskip("cv2")
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip(f"OpenCV {cv2.__version__} does not support dynamic sizes; OpenCV 5 does")


def test_opencv_snippet_matches_torch(opencv, tiny_model: Path, tiny_onnx: Path, photo, tmp_path):
    run_snippet("with_opencv.py", tiny_onnx, photo, tmp_path / "out.png")
    assert_equal(Image.open(tmp_path / "out.png"), tiny_model, photo)


def test_opencv_camera_snippet_shows_the_frames_of_torch(
    opencv, tiny_model: Path, tiny_onnx: Path, tmp_path: Path
):
    import cv2

    frames = [cv2.imread(str(draw_picture(tmp_path / f"{seed}.png", seed))) for seed in range(3)]
    height, width = frames[0].shape[:2]
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), codec, 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    in_place_of_a_window = (
        "import cv2, numpy, runpy, sys; shown = []; cv2.waitKey = lambda ms: -1;"
        "cv2.imshow = lambda title, frame: shown.append(frame); sys.argv = sys.argv[1:];"
        f"runpy.run_path(sys.argv[0]); numpy.save({str(tmp_path / 'shown.npy')!r}, shown)"
    )
    snippet = [str(DEPLOY / "with_opencv_camera.py"), str(tiny_onnx), str(tmp_path / "clip.avi")]
    command = [sys.executable, "-c", in_place_of_a_window, *snippet]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    shown = np.load(tmp_path / "shown.npy")
    assert len(shown) == len(frames)
    clip = cv2.VideoCapture(str(tmp_path / "clip.avi"))
    for frame in shown:
        expected = stylize_in_torch(tiny_model, clip.read()[1][..., ::-1].copy())
        assert np.abs(frame[..., ::-1] * 255 - expected).max() <= 1
    clip.release()
