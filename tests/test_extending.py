"""docs/extending.md: its edits are made in a copy of the package, and its commands run there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def extended(tmp_path: Path) -> Path:
    """A folder with the package, edited as the page says."""
    site = tmp_path / "site"
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fst", site / "fst", ignore=leave_out)
    for folder in ("conf", "checkpoints"):
        shutil.copytree(ROOT / folder, site / "fst" / folder, ignore=leave_out)
    for language, title, text in BLOCK.findall(PAGE):
        path = site / ("fst/" + title if title.startswith("conf/") else title)
        if language == "diff":
            lines = text.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            source = path.read_text()
            assert source.count(before) == 1, f"{title} does not have one place like\n{before}"
            path.write_text(source.replace(before, after))
        elif title:
            assert not path.exists()
            path.write_text(text)
    return site


def test_what_the_page_adds_works(
    extended: Path, tiny_overrides: list[str], photos: Path, random_vgg: Path, tmp_path: Path
):
    av = pytest.importorskip("av")
    train, stylize, units = (
        shlex.split(line)
        for language, _, text in BLOCK.findall(PAGE)
        if language == "bash"
        for line in text.splitlines()
    )

    def run(command: list[str]) -> str:
        assert command[0] == "fst"
        done = subprocess.run(
            [sys.executable, "-m", "fst", *command[1:]],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(extended)},  # before this checkout
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "photographs").symlink_to(photos)
    given = {override.partition("=")[0] for override in train[2:]} | {"runs_dir"}
    tiny = [
        override
        for override in tiny_overrides
        if override.partition("=")[0] not in given and not override.startswith("network.")
    ]
    said = run([*train, *tiny])
    reports = (tmp_path / "runs/muted/metrics.jsonl").read_text().splitlines()
    assert json.loads(reports[-1])["saturation"] > 0
    assert "small network" in said
    assert re.search(r"\d+/24 images.* saturation \d", said)

    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode(None))
    run(stylize)
    assert (tmp_path / "trails.mp4").is_file()

    assert len(run(units).splitlines()) == 3
