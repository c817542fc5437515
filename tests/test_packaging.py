"""What is distributed: the sdist and the wheel are complete, and an installed wheel works."""

import os
import subprocess
import sys
import tarfile
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from fst.cli.app import app

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


def test_wheel_holds_every_file_of_the_page(wheel: Path):
    page = ROOT / "fst" / "web" / "page"
    files = {str(file.relative_to(ROOT)) for file in page.rglob("*") if file.is_file()}
    with ZipFile(wheel) as archive:
        assert {"fst/web/page/index.html", "fst/web/page/sw.js"} <= files <= set(archive.namelist())


def test_wheel_names_both_licences_and_holds_them(wheel: Path):
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        fields = HeaderParser().parsestr(archive.read(metadata).decode())
        files = fields.get_all("License-File", [])
        texts = [archive.read(f"{Path(metadata).parent}/licenses/{file}") for file in files]
    assert fields["License-Expression"] == "Apache-2.0 AND CC-BY-4.0"
    assert [b"Apache License" in text for text in texts] == [True, False]
    assert b"Attribution 4.0 International" in texts[1]


@pytest.mark.parametrize(
    ("package", "holed", "mended"),
    [
        ("av", ("17.1.0",), ("18.0.0", "18.1.0")),
        ("h11", ("0.14.0",), ("0.16.0",)),
        ("onnx", ("1.20.1", "1.21.0"), ("1.22.0",)),
        ("opencv-python", ("4.13.0.92", "5.0.0.93"), ("4.14.0.94",)),
        ("pillow", ("11.3.0", "12.1.0", "12.2.0"), ("12.3.0", "13.0.0")),
        ("pillow-heif", ("1.2.1", "1.6.0"), ("1.7.0", "1.8.1")),
        ("python-multipart", ("0.0.26", "0.0.29", "0.0.30"), ("0.0.31", "0.0.34")),
        ("setuptools", ("78.1.0", "82.0.1"), ("83.0.0",)),
        ("tqdm", ("4.66.2",), ("4.66.3",)),
    ],
)
def test_releases_with_known_holes_are_not_installed(
    package: str, holed: tuple[str, ...], mended: tuple[str, ...]
):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    extras = project["optional-dependencies"].values()
    lists = (settings["build-system"]["requires"], project["dependencies"], *extras)
    wanted = [Requirement(line) for lines in lists for line in lines]
    floors = [one.specifier for one in wanted if one.name == package]
    assert floors
    for floor in floors:
        assert not any(floor.contains(version) for version in holed)
        assert all(floor.contains(version) for version in mended)


def test_sdist_holds_the_deployment_snippets_and_the_changelog(distributions: Path):
    (sdist,) = distributions.glob("fst_style_transfer-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    snippets = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "scripts" / "deploy").rglob("*")
        if file.is_file()
    }
    assert snippets and snippets <= names
    assert {"CHANGELOG.md", "CITATION.cff"} <= names


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
