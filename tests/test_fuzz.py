"""Short, seeded runs of the fuzzers: damaged files are used or refused, never a bug."""

from pathlib import Path

import fuzz_models
import fuzz_parquet
import fuzz_runs
import fuzz_settings
import fuzz_videos
import pytest

from fst.measuring import evaluation
from fst.measuring.artefacts import Artefacts


@pytest.mark.parametrize(("kind", "count"), [("models", 60), ("pictures", 120), ("masks", 60)])
def test_damaged_files_are_used_or_refused(kind: str, count: int):
    tally = fuzz_models.fuzz(kind, count, seed=7)
    assert tally.bugs == []
    assert tally.outcomes["refused"] > count / 2  # most of the damage is noticed ...
    assert tally.outcomes["used"] > 0  # ... and some of it is harmless


def test_damaged_onnx_files_are_used_or_refused(tiny_onnx: Path, monkeypatch):
    import fuzz_onnx

    monkeypatch.setattr(fuzz_onnx, "export_bytes", lambda seed: tiny_onnx.read_bytes())
    tally = fuzz_models.fuzz("onnx", 30, seed=7)
    assert tally.bugs == []
    assert tally.outcomes["refused"] > 15
    assert tally.outcomes["used"] > 0


def test_damaged_run_folders_are_used_or_refused(monkeypatch):
    # Measuring these takes longer than all the rest.
    found = Artefacts(1.25, 0.5, 0.25, 0.125, 1.5, 2.5)
    monkeypatch.setattr(evaluation, "measure_artefacts", lambda stylize, pictures: found)
    tally = fuzz_runs.fuzz(8, seed=7)
    assert tally.bugs == []
    assert tally.outcomes["refused"] > 3
    assert tally.outcomes["used"] > 8


def test_odd_settings_compose_or_are_one_line():
    tally = fuzz_settings.fuzz(25, seed=9)
    assert tally.bugs == []
    assert tally.outcomes["refused"] > 10
    assert tally.outcomes["used"] > 0


def test_damaged_videos_are_used_or_refused():
    tally = fuzz_videos.fuzz(40, seed=7)
    assert tally.bugs == []
    assert tally.outcomes["refused"] > 5
    assert tally.outcomes["used"] > 10


def test_damaged_parquet_files_are_used_or_refused():
    tally = fuzz_parquet.fuzz(30, seed=7)
    assert tally.bugs == []
    assert tally.outcomes["refused"] > 10
    assert tally.outcomes["used"] > 2


def test_the_undamaged_foreign_state_loads(tmp_path: Path):
    """Or all of its damaged versions would be refused for the same reason."""
    path = tmp_path / "port.pth"
    path.write_bytes(fuzz_models.pickle_state(fuzz_models.foreign_state()))
    fuzz_models.load_and_run(path)
