"""The options of stylizing."""

import dataclasses

import pytest
import torch

from fst.cli.app import app
from fst.errors import UserError
from fst.models.export_options import ExportOptions
from fst.stylizing.look import Look
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


def test_a_look_is_checked_and_can_be_cut():
    for given in ({"strength": -0.1}, {"strokes": 17.0}):
        with pytest.raises(UserError, match=r"must be in \["):
            Look(**given)
    mask = torch.rand(1, 1, 8, 9)
    part = Look(0.5, True, mask, 2.0).within(slice(2, 5), slice(0, 9))
    assert torch.equal(part.mask, mask[..., 2:5, :])
    assert (part.strength, part.keep_colors, part.strokes) == (0.5, True, 2.0)
    assert Look().within(slice(2, 5), slice(0, 9)) == Look()


def test_a_look_is_weakened_by_its_mask_and_shares_and_is_of_each_picture():
    mask, shares = torch.rand(1, 1, 8, 9), torch.rand(3, 1, 8, 9)
    assert torch.equal(Look(0.5).weaken(shares).mask, shares)
    both = Look(0.5, mask=mask).weaken(shares)
    assert both.strength == 0.5
    for number in range(3):
        assert torch.equal(both.of(number).mask, mask * shares[number])
    assert torch.equal(Look(mask=mask).of(2).mask, mask)
    assert Look().of(2) == Look()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": "480"}, "size=480 must be HEIGHTxWIDTH"),
        ({"size": "0x480"}, "size=0x480 must be at least 1x1"),
        ({"range": 7}, "range=7 must be 1 or 255"),
        ({"uint8": True, "range": 255}, "omit --range"),
    ],
)
def test_export_options_are_checked(given, message):
    with pytest.raises(UserError, match=message):
        ExportOptions(**given)


def test_every_export_option_is_a_flag_of_fst_export_with_its_docstring(capsys):
    app(["export", "--help"], result_action="return_value")
    shown = " ".join(capsys.readouterr().out.split())
    for option in dataclasses.fields(ExportOptions):
        assert f"--{option.name}" in shown
    assert "fp32 in and out" in shown
    assert "--options" not in shown


def test_every_option_is_a_flag_of_fst_stylize_with_its_docstring(capsys):
    app(["stylize", "--help"], result_action="return_value")
    shown = " ".join(capsys.readouterr().out.split())
    for option in dataclasses.fields(Options):
        assert f"--{option.name.replace('_', '-')}" in shown
    assert "Less flicker in videos" in shown
    assert "--options" not in shown
