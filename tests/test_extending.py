"""docs/extending.md: its edits are made in a copy of the package, and its commands run there."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def site(tmp_path: Path) -> Path:
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
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return site


def test_what_the_page_adds_works(
    site: Path, tiny_overrides: list[str], photos: Path, random_vgg: Path, tmp_path: Path
):
    av = pytest.importorskip("av")
    train, train_upscaler, stylize, export, units = (
        shlex.split(line)
        for language, _, text in BLOCK.findall(PAGE)
        if language == "bash"
        for line in text.splitlines()
    )

    def run(*commands: list[str], before: str = "", after: str = "", status: int = 0) -> str:
        """Run commands of the page in a process, which takes seconds to import torch."""
        assert all(command[0] == "fst" for command in commands)
        code = (
            f"import sys\n{before}\nfrom fst.cli.app import main\n"
            f"for sys.argv in {commands!r}:\n"
            "    try: main()\n"
            "    except SystemExit as end:\n"
            "        if end.code: raise\n"
            f"{after}\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site)},  # before this checkout
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "photographs").symlink_to(photos)
    given = {override.partition("=")[0] for override in train[2:]} | {"runs_dir"}
    tiny = [
        override
        for override in tiny_overrides
        if override.partition("=")[0] not in given and not override.startswith("network.")
    ]
    small = [
        "data.crop_px=32",
        "data.heldout_px=32",
        "network.width=8",
        "loss_network=slim",
        "training.images=24",
        "training.batch_size=4",
        "training.save_every=8",
        "training.device=cpu",
    ]
    killed_at_16 = (
        "import os\nfrom fst.training import run\nsave = run.Run.save\n"
        "def save_or_die(self):\n"
        "    dies = self.config.name == 'sharp' and self.seen_images >= 16\n"
        "    os.kill(os.getpid(), 9) if dies else save(self)\n"
        "run.Run.save = save_or_die"
    )
    said = run(
        [*train, *tiny],
        [*train_upscaler[:-1], *small, "name=whole"],
        [*train_upscaler, *small],
        before=killed_at_16,
        status=-signal.SIGKILL,
    )
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
    own_tests = ["-q", "--rootdir", str(site), str(site / "tests")]
    said = run(
        *([*train_upscaler, *small], stylize, export, units),
        after=f"print('its tests')\nimport pytest\nsys.exit(pytest.main({own_tests}))",
    )
    assert "resuming at 8 of 24 images" in said
    states = [torch.load(tmp_path / f"runs/{name}/state.pt") for name in ("whole", "sharp")]
    assert states[0].keys() == states[1].keys()
    for name in ("network", "ema", "discriminator.network", "discriminator.optimizer"):
        torch.testing.assert_close(states[1][name], states[0][name], rtol=0, atol=0)
    assert states[0]["discriminator.optimizer"]["state"][0]["step"] == 6

    assert (tmp_path / "trails.mp4").is_file()

    *_, after_export = re.split(r"^muted\.ep \(.*\n", said, flags=re.MULTILINE)
    shown, _, tested = after_export.partition("its tests\n")
    assert len(shown.splitlines()) == 3
    assert "1 passed" in tested
