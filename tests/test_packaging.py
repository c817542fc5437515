"""What is distributed: the sdist and the wheel are complete, and an installed wheel works."""

import os
import subprocess
import sys
import tarfile
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from fst.cli import app

ROOT = Path(__file__).parents[1]
COMMANDS = [name for name in app if not name.startswith("-")]


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from it, so that nothing outside the sdist is needed."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (wheel,) = distributions.glob("fst_style_transfer-*.whl")
    return wheel


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into, without its dependencies."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return site


@pytest.fixture
def fst(site: Path, tmp_path: Path):
    def run(*arguments: object) -> str:
        return subprocess.run(
            [site / "bin" / "fst", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(site)},  # not this checkout
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return run


def test_wheel_is_named_and_holds_every_module(wheel: Path):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = HeaderParser().parsestr(archive.read(metadata).decode())
    assert fields["Name"] == "fst-style-transfer"
    own = [line for line in fields.get_all("Requires-Dist", []) if line.startswith("fst")]
    assert all(line.startswith("fst-style-transfer[") for line in own)
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / "fst").rglob("*.py")}
    assert modules <= names
    assert {name for name in names if name.endswith(".py")} - modules == {
        "fst/conf/__init__.py",
        "fst/checkpoints/__init__.py",
    }


def test_sdist_holds_the_deployment_snippets(distributions: Path):
    (sdist,) = distributions.glob("fst_style_transfer-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    snippets = {str(file.relative_to(ROOT)) for file in (ROOT / "scripts" / "deploy").iterdir()}
    assert snippets and snippets <= names


def test_installed_wheel_composes_its_configuration(fst, site: Path, style_picture: Path):
    printed = fst("train", f"style={style_picture}", "data.path=.", "--cfg", "job")
    assert "name: moments" in printed
    assert str(style_picture) in printed
    installed = {path.name for path in (site / "fst" / "conf" / "style").iterdir()}
    assert {"picture.yaml", "vortices.yaml", "vortices.jpg"} <= installed
    assert (site / "fst" / "losses" / "slim.safetensors").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_installed_command_starts(fst, command: str):
    required = ["style=vortices"] if command == "train" else []
    assert command in fst(command, *required, "--help")


def test_completion_can_be_installed(fst, tmp_path: Path):
    fst("--install-completion", "--shell", "bash", "--output", tmp_path / "completion")
    typed = "COMP_WORDS=(fst sty) COMP_CWORD=1; _fst; echo ${COMPREPLY[@]}"
    bash = ["bash", "-c", f"source {tmp_path / 'completion'}; {typed}"]
    done = subprocess.run(bash, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["stylize"]
