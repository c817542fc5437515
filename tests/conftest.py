"""What the tests share: small pictures, random VGG16 weights, and tiny trainings."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import absl.logging
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file
from samples import SHARED, draw_picture

from fst.config import FastConfig, TrainConfig
from fst.models.export_options import ExportOptions
from fst.models.model_file import describe, save_model
from fst.models.model_ref import ModelRef
from fst.networks.fast import Fast

os.environ.setdefault("OMP_NUM_THREADS", "2")
# Hydra's set-up of logging closes every handler, and absl's, which TensorBoard imports, its stream
# unless that is a standard one: else it closes the file that pytest captures output in.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "shared": None if SHARED.is_dir() else f"{SHARED} is not there (FST_SHARED names it)",
        "gpu": None if torch.cuda.is_available() else "no CUDA device",
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def seed_torch() -> None:
    """What is random in a test is the same each time."""
    torch.manual_seed(0)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, where copies of its parquet files go."""
    monkeypatch.setenv("FST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def scalar_code() -> Iterator[None]:
    """Let torch compile without vector instructions: trying which there are takes many seconds.

    So does compiling the headers of a package in advance, for the one package that is made.
    """
    from torch._inductor import config

    with config.patch({"cpp.vec_isa_ok": False, "aot_inductor.precompile_headers": False}):
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve photographs, some of them nested."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more" / "still").mkdir(parents=True)
    for i in range(12):
        draw_picture(folder / ("", "more", "more/still")[i % 3] / f"{i:02}.png", i)
    return folder


@pytest.fixture(scope="session")
def style_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_picture(tmp_path_factory.mktemp("style") / "stripes.png", 100, 72, 72)


@pytest.fixture(scope="session")
def random_vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random VGG16 weights up to conv3_3, scaled like the published ones."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    channels = [3, 64, 64, 128, 128, 256, 256, 256]
    for index, inputs, outputs in zip(
        (0, 2, 5, 7, 10, 12, 14), channels[:-1], channels[1:], strict=True
    ):
        weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
        tensors[f"features.{index}.weight"] = weight * (2 / (9 * inputs)) ** 0.5
        tensors[f"features.{index}.bias"] = torch.randn(outputs, generator=generator)
    path = tmp_path_factory.mktemp("vgg") / "random.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="session")
def make_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return what takes seconds to make; the first process of the tests to ask for it makes it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all of pytest-xdist's workers
    folder = folder / "make_once"
    folder.mkdir(exist_ok=True)

    def get(name: str, make: Callable[[Path], object]) -> Path:
        path, done = folder / name, folder / f"{name}.done"
        with FileLock(folder / f"{name}.lock"):
            if not done.exists():
                torch.manual_seed(0)
                make(path)
                done.touch()
        return path

    return get


@pytest.fixture(scope="session")
def contrasty() -> Callable[..., Fast]:
    """Return a tiny network, whose pictures have more contrast than those of a random one have."""

    def make(**settings: int) -> Fast:
        torch.manual_seed(0)
        network = Fast(FastConfig(width=8, **settings)).eval().requires_grad_(False)
        network.head[-2].weight *= 5
        return network

    return make


@pytest.fixture(scope="session")
def tiny_model(contrasty: Callable[..., Fast], make_once: Callable[..., Path]) -> Path:
    """A tiny model with every part of the network `fast`."""
    network = contrasty(residual_blocks=1, coarse_blocks=1, coarse_width=8)
    info = describe(network, title="fast", seen_images=123)
    return make_once("tiny.safetensors", lambda path: save_model(path, network, info))


@pytest.fixture(scope="session")
def tiny_onnx(tiny_model: Path, make_once: Callable[..., Path]) -> Path:
    """`tiny_model` exported for pictures of any size."""
    pytest.importorskip("onnxscript", reason="pip install 'fst-style-transfer[export]'")
    from fst.models.export import export_model

    return make_once("tiny.onnx", lambda path: export_model(ModelRef(tiny_model), path))


@pytest.fixture(scope="session")
def bytes_model(contrasty: Callable[..., Fast], make_once: Callable[..., Path]) -> Path:
    """A model that is simpler still, and so exported in half the time."""
    network = contrasty(residual_blocks=1, coarse_blocks=0)
    info = describe(network)
    return make_once("bytes.safetensors", lambda path: save_model(path, network, info))


@pytest.fixture(scope="session")
def bytes_onnx(bytes_model: Path, make_once: Callable[..., Path]) -> Path:
    """`bytes_model` exported for pictures of any size in uint8."""
    pytest.importorskip("onnxscript", reason="pip install 'fst-style-transfer[export]'")
    from fst.models.export import export_model

    return make_once(
        "bytes.onnx",
        lambda path: export_model(ModelRef(bytes_model), path, ExportOptions(uint8=True)),
    )


@pytest.fixture(scope="session")
def tiny_overrides_in(
    photos: Path, style_picture: Path, random_vgg: Path
) -> Callable[[Path], list[str]]:
    """Return the overrides of `fst train` for a run of 24 images, by the folder of runs.

    It takes a second or two.
    """
    return lambda runs_dir: [
        f"style={style_picture}",
        "style.size_px=48",
        f"data.path={photos}",
        "data.crop_px=32",
        "data.margin_px=4",
        "data.workers=0",
        "data.heldout_images=2",
        "data.heldout_px=48",
        f"loss_network.weights={random_vgg}",
        "loss_network.verify=false",
        "network.width=8",
        "network.residual_blocks=1",
        "network.coarse_width=8",
        "network.coarse_blocks=1",
        "training.images=24",
        "training.palette=0",
        "training.precision=fp32",
        "training.report_every=8",
        "training.save_every=8",
        "training.device=cpu",
        "name=run",
        f"runs_dir={runs_dir}",
    ]


@pytest.fixture
def tiny_overrides(tiny_overrides_in: Callable[[Path], list[str]], tmp_path: Path) -> list[str]:
    """Overrides of `fst train` for a tiny run in the test's own folder."""
    return tiny_overrides_in(tmp_path / "runs")


@pytest.fixture(scope="session")
def compose() -> Callable[[list[str]], TrainConfig]:
    """What `fst train` does with its overrides, up to the training."""
    from fst.cli.train import compose_training

    return compose_training


@pytest.fixture
def fst_command() -> list[str]:
    """The command line that runs `fst` with this interpreter."""
    return [sys.executable, "-m", "fst"]


@pytest.fixture
def fst_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run `fst ARGUMENTS` in this process and the test's folder: a new process takes seconds."""
    from fst.cli.app import main

    monkeypatch.chdir(tmp_path)
    terminate = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["fst", *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        return subprocess.CompletedProcess(arguments, status, *capsys.readouterr())

    with patch.dict(os.environ):  # commands set caches and how threads wait, for their process
        yield run
    signal.signal(signal.SIGTERM, terminate)
