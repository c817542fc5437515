"""The grammar of models' names."""

from pathlib import Path

import pytest

from fst.models.model_name import chosen_shares, split_models, split_style

STYLES = ["starry_night", "the_scream", "udnie"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("base", ("base", "")),
        ("base:udnie", ("base", "udnie")),
        ("base:udnie=0.7,the_scream=0.3", ("base", "udnie=0.7,the_scream=0.3")),
        ("runs/a:b/model.safetensors:udnie", ("runs/a:b/model.safetensors", "udnie")),
        (r"C:\models\a.safetensors", (r"C:\models\a.safetensors", "")),
        (r"C:\models\a.safetensors:udnie", (r"C:\models\a.safetensors", "udnie")),
        ("C:/models/a.safetensors", ("C:/models/a.safetensors", "")),
        ("any:/home/me/sea.jpg", ("any", "/home/me/sea.jpg")),
        (r"any:D:\sea.jpg", ("any", r"D:\sea.jpg")),
        ("C:/a.safetensors:D:/sea.jpg", ("C:/a.safetensors", "D:/sea.jpg")),
        (r"any:C:\a.jpg=0.7,D:\b.jpg=0.3", ("any", r"C:\a.jpg=0.7,D:\b.jpg=0.3")),
        ("any:" + 100 * "a_style=0.1,", ("any", 100 * "a_style=0.1,")),
    ],
)
def test_the_last_colon_separates_the_style(given: str, expected: tuple[str, str]):
    assert split_style(given) == expected


def test_an_existing_path_is_a_path(tmp_path: Path):
    path = tmp_path / "odd:name"
    path.touch()
    assert split_style(path) == (str(path), "")


def test_the_picture_of_a_style_may_have_a_comma(tmp_path: Path):
    picture = tmp_path / "The Kiss, 1908.jpg"
    picture.touch()
    assert split_models(f"any:{picture}") == [f"any:{picture}"]


def test_the_picture_of_a_style_may_have_a_colon(tmp_path: Path):
    picture = tmp_path / "Screenshot 12:30.jpg"
    picture.touch()
    assert split_style(f"any:{picture}") == ("any", str(picture))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a,b", ["a", "b"]),
        ("a:x,b", ["a:x", "b"]),
        ("a:x=0.7,y=0.3,b:z", ["a:x=0.7,y=0.3", "b:z"]),
        ("a,b:x=1,y=2", ["a", "b:x=1,y=2"]),
        ("a:x=5e-1,y=,b", ["a:x=5e-1,y=", "b"]),
        (r"a:C:\x.jpg=1,D:\y.jpg=2,b", [r"a:C:\x.jpg=1,D:\y.jpg=2", "b"]),
    ],
)
def test_commas_separate_models_but_not_the_styles_of_a_blend(given: str, expected: list[str]):
    assert split_models(given) == expected


def test_shares_add_up_to_one():
    assert chosen_shares(Path("m"), STYLES, "udnie") == {"udnie": 1}
    found = chosen_shares(Path("m"), STYLES, "udnie=0.6,starry_night=0.2,the_scream=0")
    assert found == pytest.approx({"udnie": 0.75, "starry_night": 0.25})


def test_pictures_are_styles_where_there_is_a_predictor(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("sea.jpg", "a=1,b=2.jpg", "udnie"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="m has no style sea.jpg"):
        chosen_shares(Path("m"), STYLES, "sea.jpg")
    assert chosen_shares(Path("m"), STYLES, "sea.jpg", predicts=True) == {"sea.jpg": 1}
    assert chosen_shares(Path("m"), [], "a=1,b=2.jpg", predicts=True) == {"a=1,b=2.jpg": 1}
    blend = chosen_shares(Path("m"), STYLES, "sea.jpg=1,udnie=3", predicts=True)
    assert blend == {"sea.jpg": 0.25, "udnie": 0.75}
    (tmp_path / "monet").mkdir()
    assert chosen_shares(Path("m"), STYLES, "monet/", predicts=True) == {"monet/": 1}
    with pytest.raises(
        ValueError, match="m takes any painting as its style: m:PAINTING.jpg, or m:FOLDER"
    ):
        chosen_shares(Path("m"), [], "", predicts=True)
    with pytest.raises(
        ValueError, match="udni, and there is no such file or folder: did you mean udnie"
    ):
        chosen_shares(Path("m"), STYLES, "udni", predicts=True)
    with pytest.raises(
        ValueError, match="m has no style lake.jpg, and there is no such file or folder$"
    ):
        chosen_shares(Path("m"), [], "lake.jpg", predicts=True)


@pytest.mark.parametrize("share", ["1e39", "1e-60", "1e308"])
def test_shares_of_any_size_are_relative(share: str):
    choice = f"udnie={share},the_scream={share}"
    assert chosen_shares(Path("m"), STYLES, choice) == {"udnie": 0.5, "the_scream": 0.5}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("", "m has 3 styles: choose one with m:STYLE.* starry_night, the_scream, udnie"),
        ("scream", "m has no style scream: did you mean the_scream"),
        ("qqqq", "m has no style qqqq: it has starry_night"),
        ("udnie,the_scream", "udnie: the share must be a number"),
        ("udnie=x", "udnie=x: the share must be a number"),
        ("udnie=-1", "at least 0"),
        ("udnie=inf", "at least 0"),
        ("udnie=0", "at least one share must be above 0"),
    ],
)
def test_mistakes_are_explained(choice: str, message: str):
    with pytest.raises(ValueError, match=message):
        chosen_shares(Path("m"), STYLES, choice)
