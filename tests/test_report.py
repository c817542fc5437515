"""The parts of reports."""

import shlex
import sys
from types import SimpleNamespace

import pytest
import torch

from fst.measuring import machine
from fst.report import command_line, few, number, table


def test_a_table_escapes_what_would_break_its_cells():
    assert table(["a", "b"], [["1", "x|y"], ["2", ""]]) == [
        "| a | b |",
        "|---|---|",
        r"| 1 | x\|y |",
        "| 2 |  |",
    ]


def test_numbers_are_formatted_and_unknown_ones_are_empty():
    assert number(1234.5, ",.0f", " s") == "1,234 s"
    assert number(None, ",.0f", " s") == ""


def test_a_few_names_stand_for_many():
    assert few(["a", "b"]) == "a, b"
    assert few([*"abcdefghijk"]) == "a, b, c, d, e, f, g, h and 3 more"


@pytest.mark.parametrize("program", ["/usr/bin/fst", "/lib/fst/__main__.py"])
def test_the_command_line_can_be_typed_again(monkeypatch, program: str):
    monkeypatch.setattr(sys, "argv", [program, "compare", "a model", "-o", "out"])
    assert shlex.split(command_line()) == ["fst", "compare", "a model", "-o", "out"]


def test_the_machine_is_described_in_one_line():
    assert f"torch {torch.__version__}" in machine.machine_line(torch.device("cpu"))


def test_seconds_cover_the_action_and_the_work_that_it_leaves_to_the_device(monkeypatch):
    now = [100.0]
    left_to_device = [40.0]  # of an earlier action, which does not count

    def act(seconds: float) -> None:
        now[0] += seconds
        left_to_device.append(2.0)

    def wait_for(device: torch.device) -> None:
        while left_to_device:
            now[0] += left_to_device.pop()

    monkeypatch.setattr(machine, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(machine, "_wait_for", wait_for)
    assert machine.seconds_of(torch.device("cpu"), act, 0.5) == 2.5
    assert now == [142.5]
