"""Short, seeded runs of scripts/fuzz_models.py: damaged files are used or refused, never a bug."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_models.py"


@pytest.fixture(scope="module")
def script() -> dict:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(("kind", "count"), [("models", 60), ("pictures", 120)])
def test_damaged_files_are_used_or_refused(kind: str, count: int, script: dict):
    outcomes, bugs = script["fuzz"](kind, count, seed=7)
    assert bugs == []
    assert outcomes["refused"] > count / 2  # most of the damage is noticed ...
    assert outcomes["used"] > 0  # ... and some of it is harmless


def test_the_undamaged_foreign_state_loads(script: dict, tmp_path: Path):
    """Or all of its damaged versions would be refused for the same reason."""
    path = tmp_path / "port.pth"
    path.write_bytes(script["pickled"](script["foreign_state"]()))
    assert script["load_and_run"](path) == "used"
