"""The blind comparison: sheets hide which is which, and the count finds it again."""

import json
import sys

import blind_pairs
import pytest
from PIL import Image

COLOURS = {"new": "red", "old": "blue"}


@pytest.fixture
def folder(tmp_path):
    """Two paintings, three photographs, and results in one colour a folder."""
    for name in ("vase.jpg", "wave.png"):
        save(tmp_path / "paintings" / name, "white")
    for name in ("cat.jpg", "dog.jpg", "owl.jpg"):
        save(tmp_path / "photos" / name, "grey")
        for folder, colour in COLOURS.items():
            for painting in ("vase", "wave"):
                save(tmp_path / folder / painting / name, colour)
    return tmp_path


def save(file, colour):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), colour).save(file)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["blind_pairs", *map(str, arguments)])
    blind_pairs.main()


def make(monkeypatch, folder, *more):
    results = [f"--results={name}={folder / name}" for name in COLOURS]
    shown = ["--photographs", folder / "photos", "--paintings", folder / "paintings"]
    run(monkeypatch, "make", folder / "sheets", *shown, *results, *more)
    return json.loads((folder / "sheets.key.json").read_text())


def test_the_key_says_what_the_sheets_show_and_is_not_among_them(folder, monkeypatch):
    key = make(monkeypatch, folder, "--pairs", 2)
    sheets = sorted((folder / "sheets").iterdir())
    assert [sheet.name for sheet in sheets] == [f"pair_{n:03}.jpg" for n in range(4)]
    for pair, sheet in zip(key, sheets, strict=True):
        assert {pair["left"], pair["right"]} == {"new", "old"}
        picture = Image.open(sheet)
        for side, x in (("left", 300), ("right", picture.width - 20)):
            red, _, blue = picture.getpixel((x, 100))
            assert (red > blue) == (pair[side] == "new")


def test_sides_are_drawn_and_the_same_again_by_the_seed(folder, monkeypatch):
    key = make(monkeypatch, folder, "--pairs", 3)
    assert {pair["left"] for pair in key} == {"new", "old"}
    assert make(monkeypatch, folder, "--pairs", 3) == key
    assert make(monkeypatch, folder, "--pairs", 3, "--seed", 1) != key


def test_answers_are_counted_by_painting_with_an_interval(folder, monkeypatch, capsys):
    key = make(monkeypatch, folder, "--pairs", 3)
    always_new = ["left" if pair["left"] == "new" else "right" for pair in key]
    doubting = ["tie", *always_new[1:]]
    for name, answers in (("a", always_new), ("b", doubting)):
        lines = [f"{n},{answer},because, of the sky" for n, answer in enumerate(answers)]
        (folder / f"{name}.csv").write_text("pair,answer,why\n" + "\n".join(lines))
    capsys.readouterr()
    run(monkeypatch, "count", folder / "sheets", folder / "a.csv", folder / "b.csv")
    printed = capsys.readouterr().out
    low, high = blind_pairs.wilson(11.5, 12)
    assert f"| all | 11.5 | 0.5 | 96% | {low:.0%} to {high:.0%} |" in printed
    assert "5 of 6 repeated judgements agree" in printed
    assert "| vase |" in printed and "| wave |" in printed


def test_the_interval_is_that_of_wilson():
    # Agresti and Coull 1998, section 2, by hand: 10 of 10 at 95% begins at n / (n + z^2).
    low, high = blind_pairs.wilson(10, 10)
    assert low == pytest.approx(10 / (10 + 1.96**2)) and high == pytest.approx(1)


def test_a_line_that_is_no_answer_ends_the_count(folder, monkeypatch):
    make(monkeypatch, folder)
    (folder / "a.csv").write_text("0,Left\n1,the second")
    with pytest.raises(SystemExit, match=r"1,the second.*is not PAIR"):
        run(monkeypatch, "count", folder / "sheets", folder / "a.csv")
