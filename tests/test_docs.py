"""The documentation: generated pages are current, links lead somewhere, the README stays short."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fst.models.released import released_names

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
PULL_REQUEST = ".github/pull_request_template.md"


def test_reference_pages_are_current():
    check = [sys.executable, "scripts/docs/write_reference.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_site_builds_without_a_broken_link(tmp_path: Path):
    pytest.importorskip("zensical", reason="pip install 'fst-style-transfer[docs]'")
    shutil.copytree(DOCS, tmp_path / "docs")  # the site is written beside its settings
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    (tmp_path / "fst").symlink_to(ROOT / "fst")
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "build" / "site"
    page = (site / "design" / "slim.html").read_text()
    (picture,) = re.findall(r'<img alt="[^"]*" src="([^"]*)"', page)
    assert (site / "design" / picture).is_file()
    assert "Raises" in (site / "reference" / "api.html").read_text()  # from docstrings


def test_pictures_of_pages_exist():
    """What a strict build does not look at."""
    missing = [
        f"{page.relative_to(DOCS)}: {picture}"
        for page in PAGES
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
        if not (page.parent / picture).is_file()
    ]
    assert not missing


def test_navigation_names_every_page_once():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)
    assert sorted(named) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_readme_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", PULL_REQUEST])
def test_pages_outside_the_site_lead_to_what_is_there(page: str):
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in link:
            name, _, anchor = link.partition("#")
            target = folder / name if name else ROOT / page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text()), link
    named = re.findall(r"\b(?:fst|conf|checkpoints|scripts|tests)/[\w/]*(?:\.py)?", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def anchors(text: str) -> set[str]:
    """What links to a page's headings are called."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_a_front_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    assert len(text.split()) <= 1600


MODEL_COMMANDS = "stylize|upscale|webcam|export|evaluate|compare|inspect|learn"


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(page for page in PAGES if page.parent.name != "reference")],
    ids=lambda page: page.name,
)
def test_examples_name_models_that_a_newcomer_has(page: Path):
    """Released ones, a file, a placeholder in capitals, or a run that the page trained before."""
    known = set(released_names())
    for line in page.read_text().splitlines():
        for style in re.findall(r"\b(?:style|styles|any)=([\w.-]+)", line):
            known.add(Path(style).stem)
        known.update(re.findall(r"\b(?:name=|runs_dir=runs/)(\w+)", line))
        for command, model in re.findall(rf"\bfst ({MODEL_COMMANDS}) ([^- `][^ `]*)", line):
            first = model.removeprefix("runs/").split("/")[0].split(":")[0]
            names = first.split(",") if command != "webcam" else [first]
            for name in names:
                given = Path(name).suffix in {".safetensors", ".onnx", ".pt2", ".pth", ".model"}
                assert given or name.isupper() or "..." in name or name in known, line


def test_python_examples_load_models_that_a_newcomer_has():
    pages = "".join(page.read_text() for page in [ROOT / "README.md", *PAGES])
    loaded = re.findall(r'load(?:_enlarger)?\("([^":]+)', pages)
    assert len(loaded) > 4
    assert not set(loaded) - {"any", *released_names()}
