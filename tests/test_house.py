"""The house rules: imports go downwards, importing is light, the wheel is whole."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("atomic", "errors", "config", "network", "distributed", "sheet", "stopping"),
    (
        *("artefacts", "image", "slim", "vgg", "model_file", "run_folder", "tiles"),
        *("camera", "video_file"),
    ),
    ("data", "files", "live", "loss_network", "runtime", "stability", "tracking", "video"),
    ("inspection", "loss", "stylize"),
    ("batch", "console", "export", "optimization", "training", "webcam"),
    ("benchmark",),
    ("comparison", "overrides"),
    ("evaluation", "optimize", "train"),
    ("evaluation_report",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports_of(source: str) -> set[str]:
    """Names of the modules of fst that the source imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("fst.")} & LEVEL.keys()


def test_every_file_has_its_layer():
    files = {file.stem for file in (ROOT / "fst").glob("*.py")} - {"__init__"}
    assert files == LEVEL.keys()


@pytest.mark.parametrize("name", LEVEL)
def test_imports_go_only_downwards(name: str):
    upwards = {
        other
        for other in imports_of((ROOT / "fst" / f"{name}.py").read_text())
        if LEVEL[other] >= LEVEL[name]
    }
    assert not upwards


def test_the_check_sees_every_form_of_import():
    source = "import fst.cli\nfrom fst.train import main\ndef f():\n    from fst import data"
    assert imports_of(source) == {"cli", "train", "data"}


def test_importing_fst_is_light_and_leaves_no_trace(tmp_path: Path):
    heavy = ["torch", "torchvision", "datasets", "cv2", "onnxruntime", "tensorboard", "hydra"]
    code = f"import sys, fst; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


def test_loading_a_model_needs_no_training_code():
    code = "import sys, fst; fst.load; print([m for m in sys.modules if m.startswith('fst.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"fst.training", "fst.loss", "fst.vgg", "fst.data"} & set(
        ast.literal_eval(done.stdout)
    )


def test_the_installed_wheel_composes_its_configuration(tmp_path: Path, style_picture: Path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    done = subprocess.run(
        [
            tmp_path / "site/bin/fst",
            "train",
            f"style={style_picture}",
            "data.path=.",
            "--cfg",
            "job",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},  # before this checkout
        capture_output=True,
        text=True,
        check=True,
    )
    assert "name: relative" in done.stdout
    assert str(style_picture) in done.stdout
    installed = {path.name for path in (tmp_path / "site" / "fst" / "conf" / "style").iterdir()}
    assert {"picture.yaml", "vortices.yaml", "vortices.jpg"} <= installed
    assert (tmp_path / "site" / "fst" / "slim.safetensors").is_file()
