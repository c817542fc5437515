"""The options of stylizing."""

import dataclasses

import pytest

from fst.cli.app import app
from fst.errors import UserError
from fst.stylizing.options import Options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strength": 1.6}, r"strength=1.6 must be in \[0, 1.5\]"),
        ({"size": 0}, "size=0 must be at least 1"),
        ({"tile_px": 8}, "tile_px=8 must be 0"),
        ({"strokes": 0.1}, r"strokes=0.1 must be in \[0.25, 16\]"),
        ({"smooth": 1.0}, r"smooth=1.0 must be in \[0, 1\)"),
        ({"strength": float("nan")}, "strength=nan"),
    ],
)
def test_values_out_of_range_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        Options(**given)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 900), 1), ((640, 640), 1), ((641, 900), 641 / 512), ((2160, 3840), 2160 / 512)],
)
def test_strokes_grow_with_large_pictures(size: tuple[int, int], expected: float):
    assert Options().strokes_in(*size) == expected
    assert Options(strokes=3).strokes_in(*size) == 3


def test_every_option_is_a_flag_of_fst_stylize_with_its_docstring(capsys):
    app(["stylize", "--help"], result_action="return_value")
    shown = " ".join(capsys.readouterr().out.split())
    for option in dataclasses.fields(Options):
        assert f"--{option.name.replace('_', '-')}" in shown
    assert "Less flicker in videos" in shown
    assert "--options" not in shown
