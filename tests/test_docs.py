"""The documentation: generated pages are current, links lead somewhere, the README stays short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_reference_pages_are_current():
    check = [sys.executable, "scripts/docs/write_reference.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_site_builds_without_a_broken_link(tmp_path: Path):
    pytest.importorskip("material", reason="pip install 'fst-style-transfer[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "design" / "slim.html").read_text()
    (picture,) = re.findall(r'<img alt="[^"]*" src="([^"]*)"', page)
    assert (tmp_path / "design" / picture).is_file()


def test_readme_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]


def test_readme_is_a_front_page():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 160
    assert len(text.split()) <= 1600
