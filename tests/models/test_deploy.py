"""The snippets of scripts/deploy, run as a user runs them: their results match torch."""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from samples import draw_picture

from fst.models.export import export_model
from fst.models.export_options import ExportOptions
from fst.models.model_file import read_model
from fst.models.model_ref import ModelRef

DEPLOY = Path(__file__).parents[2] / "scripts" / "deploy"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
ORT_WEB = os.environ.get("FST_ORT_WEB")
"""The folder dist/ of onnxruntime-web, as `npm pack onnxruntime-web` brings it."""


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


IN_THE_PAGE = """
<script type="module">
  const state = document.querySelector("#state");
  const timer = setInterval(async () => {
    if (!["done", "failed"].includes(state.className)) return;
    clearInterval(timer);
    const png = await new Promise((take) => document.querySelector("#after").toBlob(take));
    const headers = { "X-State": encodeURIComponent(state.textContent) };
    await fetch("/result", { method: "POST", body: png, headers });
  }, 50);
</script>
"""
"""Sends the result to the test."""


class Site(ThreadingHTTPServer):
    """Serves the page, its files and onnxruntime-web on 127.0.0.1, and takes the result."""

    daemon_threads = True

    def __init__(self, files: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.files = files
        self.arrived = threading.Event()
        self.png = b""
        self.state = ""


class Visit(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        name = self.path.split("?")[0]
        file = self.server.files.get(name)
        if name.startswith("/dist/"):
            file = Path(ORT_WEB or "") / Path(name).name
        if name == "/":
            page = (DEPLOY / "page.html").read_text()
            head, url = page.split('const ORT = "', 1)
            address, rest = url.split('"', 1)
            assert address.startswith("https://")
            self.answer(f'{head}const ORT = "/dist"{rest}{IN_THE_PAGE}'.encode(), "text/html")
        elif file and file.is_file():
            types = {".mjs": "text/javascript", ".wasm": "application/wasm"}
            self.answer(file.read_bytes(), types.get(file.suffix, "application/octet-stream"))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        self.server.state = unquote(self.headers["X-State"])
        self.server.png = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"", "text/plain")
        self.server.arrived.set()

    def answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tiny_onnx: Path, photo: Path) -> Iterator[Site]:
    site = Site({"/style.onnx": tiny_onnx, "/photo.png": photo, "/bad.onnx": Path(__file__)})
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield site
    site.shutdown()
    thread.join()
    site.server_close()


def visit(site: Site, model: str, profile: Path, *flags: str) -> str:
    """Return what the page says in the end."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-quic", "--no-first-run"]
    address = f"http://127.0.0.1:{site.server_port}/?model=/{model}&picture=/photo.png"
    command += [f"--user-data-dir={profile}", *flags, address]
    site.arrived.clear()
    with (profile.parent / "chromium.log").open("ab") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        arrived = site.arrived.wait(120)
        os.killpg(browser.pid, signal.SIGTERM)
        browser.wait(30)
    assert arrived, (profile.parent / "chromium.log").read_text()[-2000:]
    return site.state


needs_browser = pytest.mark.skipif(
    not (CHROMIUM and ORT_WEB),
    reason="needs Chromium, and FST_ORT_WEB naming the folder dist/ of onnxruntime-web",
)
GRAPHICS = {
    "WebAssembly": ["--disable-gpu"],
    "WebGPU": ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
}


@needs_browser
@pytest.mark.parametrize("provider", GRAPHICS)
def test_the_page_shows_the_picture_of_torch(
    provider: str, tiny_model: Path, site: Site, photo: Path, tmp_path: Path
):
    said = visit(site, "style.onnx", tmp_path / "profile", *GRAPHICS[provider])
    if provider == "WebGPU" and said.startswith("WebAssembly"):
        pytest.skip("this Chromium has no WebGPU in software")
    assert said.startswith(provider), said
    assert_equal(Image.open(io.BytesIO(site.png)).convert("RGB"), tiny_model, photo)


@needs_browser
@pytest.mark.parametrize("photo", [(64, 48)], ids=["64x48"], indirect=True)
def test_the_page_says_what_went_wrong(site: Site, tmp_path: Path):
    flags = GRAPHICS["WebAssembly"]
    assert "protobuf" in visit(site, "bad.onnx", tmp_path / "a", *flags).lower()
    assert "404" in visit(site, "missing.onnx", tmp_path / "b", *flags)


@needs_browser
@pytest.mark.parametrize("photo", [(64, 48)], ids=["64x48"], indirect=True)
def test_the_page_says_which_export_it_takes(
    tiny_model: Path, bytes_onnx: Path, site: Site, tmp_path: Path
):
    export_model(ModelRef(tiny_model), tmp_path / "fixed.onnx", ExportOptions(size="48x64"))
    site.files |= {"/bytes.onnx": bytes_onnx, "/fixed.onnx": tmp_path / "fixed.onnx"}
    flags = GRAPHICS["WebAssembly"]
    assert visit(site, "bytes.onnx", tmp_path / "a", *flags) == (
        "This model takes bytes: it was exported with --uint8. Export it without --uint8 for this "
        "page."
    )
    assert visit(site, "fixed.onnx", tmp_path / "b", *flags) == (
        "This model only takes pictures of 64 x 48: it was exported with --size. Export it "
        "without --size for this page."
    )
