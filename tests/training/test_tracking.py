"""Records of a run: names of any characters, and a console that nobody reads."""

import os
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fst.errors import UserError
from fst.training.run_folder import RunFolder
from fst.training.tracking import Tracker


@pytest.fixture
def tracker(compose, tiny_overrides):
    config = compose(tiny_overrides)
    config.style.title = "caf\udce9 \x1b[2J"  # as a file name in Latin-1 gives it
    with closing(Tracker(RunFolder(config.run_dir), config, 0, {}, True, console=True)) as tracker:
        yield tracker


def test_names_of_any_characters_are_recorded_and_printed(tracker: Tracker, capsys):
    tracker.begin({"heldout/total": 1.0}, swept=[])
    tracker.advance(8, [("\x1b[2J.jpg", "is empty")])
    tracker.conclude()
    assert capsys.readouterr().out.splitlines() == [
        r"skipped \x1b[2J.jpg: is empty",
        r"1 pictures were skipped: \x1b[2J.jpg",
    ]
    tracker.writer.flush()
    events = EventAccumulator(str(tracker.folder.path)).Reload()
    (config,) = events.Tensors("config/text_summary")
    assert rb"caf\uDCE9 \e[2J" in config.tensor_proto.string_val[0]
    assert tracker.folder.read_config()["style.title"] == "caf\udce9 \x1b[2J"


def test_a_folder_that_tensorboard_cannot_write_into_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="give this run another name="):
        RunFolder(tmp_path / "caf\udce9").lock()


def test_a_training_goes_on_when_nobody_reads_its_output(tracker: Tracker, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        tracker.say("a line")
        tracker.say("another")
