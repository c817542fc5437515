"""The parts of reports."""

import shlex
import sys

import pytest
import torch

from fst.measuring.machine import machine_line, seconds_of
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
    assert f"torch {torch.__version__}" in machine_line(torch.device("cpu"))


def test_seconds_cover_the_whole_action():
    calls: list[int] = []
    assert seconds_of(torch.device("cpu"), calls.append, 1) >= 0
    assert calls == [1]
