"""Sheets: every picture is complete and in its place, every name legible."""

import pytest
import torch
from torch import Tensor

from fst.pictures.sheet import GAP_PX, contact_sheet, labelled_sheet


def places(sheet: Tensor, picture: Tensor) -> list[tuple[int, int]]:
    """Return the tops and lefts at which the sheet, (1, 3, H, W), shows exactly this picture."""
    height, width = picture.shape[-2:]
    windows = sheet[0].unfold(1, height, 1).unfold(2, width, 1).permute(1, 2, 0, 3, 4)
    found = (windows == picture.reshape(3, height, width)).flatten(2).all(2).nonzero()
    return [(int(top), int(left)) for top, left in found]


def ink(sheet: Tensor) -> float:
    return float((1 - sheet[:, 0]).sum())


def test_contact_sheet_shows_every_picture_whole():
    style = torch.full((1, 3, 30, 50), 0.25)
    contents, results = torch.rand(11, 3, 16, 16), torch.rand(11, 3, 16, 16)
    sheet = contact_sheet(style, contents, results)
    for picture in (*contents, *results):
        assert len(places(sheet, picture)) == 1


@pytest.mark.parametrize("row_names", [(), ("first", "second", "third")])
def test_each_picture_is_once_in_its_row_and_column(row_names: tuple[str, ...]):
    sizes = [(30, 40), (60, 40), (20, 32)]
    rows = [[torch.rand(1, 3, *size) for _ in range(3)] for size in sizes]
    sheet = labelled_sheet(["photo", "one", "another"], rows, row_names)
    at = [[places(sheet, picture) for picture in row] for row in rows]
    assert all(len(found) == 1 for row in at for found in row)
    (top, left) = at[0][0][0]
    assert left == GAP_PX + (40 + GAP_PX if row_names else 0)
    lefts = [left + i * (40 + GAP_PX) for i in range(3)]
    tops = [top, top + 30 + GAP_PX, top + 30 + 60 + 2 * GAP_PX]
    assert [[found[0] for found in row] for row in at] == [[(t, x) for x in lefts] for t in tops]
    assert sheet.shape == (1, 3, tops[2] + 20 + GAP_PX, lefts[2] + 40 + GAP_PX)
    # The gaps between the columns stay white.
    for x in lefts:
        assert (sheet[..., x - GAP_PX : x] == 1).all()


def test_names_are_above_columns_and_beside_rows():
    white = torch.ones(1, 3, 50, 60)
    empty = labelled_sheet(["", "", ""], [[white] * 3] * 2, ["", ""])
    assert ink(empty) == 0
    sheet = labelled_sheet(["", "name", ""], [[white] * 3] * 2, ["", "row"])
    assert sheet.shape == empty.shape
    second = slice(2 * (60 + GAP_PX) + GAP_PX, 3 * (60 + GAP_PX))
    heading, names = sheet[:, :, :-104, second], sheet[:, :, -50 - GAP_PX :, : 60 + GAP_PX]
    assert ink(heading) > 20
    assert ink(names) > 20
    assert ink(heading) + ink(names) == pytest.approx(ink(sheet))


@pytest.mark.parametrize("width", [32, 80, 256])
def test_a_long_name_is_written_in_full(width: int):
    picture = torch.ones(1, 3, 10, width)
    sheet = labelled_sheet(["m" * 60, "m"], [[picture] * 2])
    long, short = (ink(part) for part in sheet.tensor_split([width + 2 * GAP_PX], dim=3))
    assert long == pytest.approx(60 * short, rel=0.05)


def test_names_are_broken_between_their_parts_and_are_larger_in_larger_pictures():
    def heading(name: str, width: int) -> Tensor:
        return labelled_sheet([name], [[torch.ones(1, 3, 4, width)]])[:, :, : -4 - GAP_PX]

    parts = heading("style_weight=2.5+content_weight=3", 100)
    height = parts.shape[2]
    assert height > heading("style", 100).shape[2]
    dark = (parts[0, 0] < 0.5).any(1).int()
    assert (dark.diff() == 1).sum() >= 2  # lines, with white between
    assert ink(heading("m", 400)) > 1.5 * ink(heading("m", 100))


def test_a_name_taller_than_its_row_does_not_overlap_the_next():
    rows = [[torch.rand(1, 3, 12, 40)] for _ in range(2)]
    sheet = labelled_sheet(["x"], rows, ["m" * 60, "m"])
    (first,), (second,) = (places(sheet, row[0]) for row in rows)
    band = sheet[:, :, first[0] : second[0], : first[1]]
    below = sheet[:, :, second[0] :, : first[1]]
    assert second[0] - first[0] > 12 + GAP_PX
    assert ink(band) == pytest.approx(60 * ink(below), rel=0.05)


@pytest.mark.parametrize(
    ("columns", "rows", "row_names", "message"),
    [
        ([], [], [], "at least one row"),
        (["a"], [], [], "at least one row"),
        (["a", "b"], [[torch.rand(1, 3, 4, 4)]], [], "one picture per column"),
        (["a", "b"], [[torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5)]], [], "have the same size"),
        (["a"], [[torch.rand(1, 3, 4, 4)]], ["x", "y"], "2 names for 1 rows"),
    ],
)
def test_incomplete_grids_are_refused(columns, rows, row_names, message: str):
    with pytest.raises(ValueError, match=message):
        labelled_sheet(columns, rows, row_names)
