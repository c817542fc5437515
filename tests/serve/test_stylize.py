"""`POST /stylize`: the pixels of `fst stylize`, and mistakes in a line."""

import io
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzzing import damage
from odd_pictures import photograph
from PIL import Image
from samples import jpeg_of

pytest.importorskip("fastapi", reason="pip install 'fst-style-transfer[serve]'")

TURNED = Image.Exif()
TURNED[0x0112] = 6


def save(path: Path, kind: str) -> Path:
    picture = photograph()
    if kind == "turned":
        picture.save(path.with_suffix(".jpg"), exif=TURNED)
        return path.with_suffix(".jpg")
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    picture.save(path.with_suffix(".png"))
    return path.with_suffix(".png")


@pytest.mark.parametrize(
    ("kind", "chosen", "form", "flags"),
    [
        ("turned", "tiny", {"format": "png"}, []),
        ("transparent", "tiny", {"format": "webp"}, []),
        ("transparent", "tiny", {"quality": "40"}, ["--quality", "40"]),
        (
            "turned",
            "tiny",
            {"strength": "0.4", "strokes": "2", "keep_colors": "true"},
            ["--strength", "0.4", "--strokes", "2", "--keep-colors"],
        ),
        ("turned", "museum:udnie=0.7,starry_night=0.3", {"format": "png"}, []),
        ("turned", "any:udnie", {"strength": "1.3"}, ["--strength", "1.3"]),
        ("transparent", "any:PAINTING", {"format": "png"}, []),
    ],
)
def test_the_answer_is_the_file_that_the_command_writes(
    serve,
    fst_here,
    tmp_path: Path,
    tiny_model: Path,
    style_picture: Path,
    kind,
    chosen,
    form,
    flags,
):
    photo = save(tmp_path / "photo", kind)
    model, _, style = chosen.partition(":")
    suffix = {"png": ".png", "webp": ".webp"}.get(form.get("format", "jpeg"), ".jpg")
    named = str(tiny_model) if model == "tiny" else chosen.replace("PAINTING", str(style_picture))
    given = ["stylize", named, photo, "-o", f"out{suffix}", "--device", "cpu", "--dtype", "fp32"]
    assert fst_here(*given, *flags).returncode == 0
    files = {"picture": photo.read_bytes()}
    fields = {"model": model, **form}
    if style == "PAINTING":
        files["painting"] = style_picture.read_bytes()
    elif style:
        fields["style"] = style
    answer = serve().post("/stylize", files=files, data=fields)
    assert answer.status_code == 200, answer.text
    kind = suffix[1:].replace("jpg", "jpeg")
    assert answer.headers["content-type"] == f"image/{kind}"
    assert answer.content == (tmp_path / f"out{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 422, "model: Field required"),
        ({"model": "nothing"}, 422, "no model 'nothing': choose tiny, museum, any"),
        ({"model": "museum"}, 422, "museum has 14 styles: give one as style"),
        ({"model": "tiny", "style": "udnie"}, 422, "tiny has one style"),
        ({"model": "museum", "style": "udnei"}, 422, "did you mean udnie"),
        ({"model": "museum", "style": "udnie=nan,mondrian=1"}, 422, "must be a number"),
        ({"model": "museum", "style": "udnie=-1,mondrian=1"}, 422, "must be a number"),
        ({"model": "tiny", "strength": "nan"}, 422, "strength=nan must be in [0, 1.5]"),
        ({"model": "tiny", "strength": "1.2"}, 422, "above 1 it needs a model"),
        ({"model": "tiny", "strength": "much"}, 422, "strength: Input should be a valid number"),
        ({"model": "tiny", "strokes": "inf"}, 422, "strokes=inf must be in [0.25, 16]"),
        ({"model": "tiny", "strokes": "1e999"}, 422, "strokes=inf must be in"),
        ({"model": "tiny", "quality": "101"}, 422, "quality=101 must be in [1, 100]"),
        ({"model": "tiny", "quality": "9" * 999}, 422, "quality"),
        ({"model": "tiny", "keep_colors": "perhaps"}, 422, "keep_colors: Input should be a valid"),
        (
            {"model": "tiny", "format": "gif"},
            422,
            "format: Input should be 'jpeg', 'png' or 'webp'",
        ),
        ({"model": "tiny", "size": "9"}, 422, "size: Extra inputs are not permitted"),
        ({"model": "t" * 5000}, 400, "Part exceeded maximum size of 4KB."),
    ],
)
def test_mistakes_are_answered_in_a_line(serve, fields, status, said):
    answer = serve().post("/stylize", files={"picture": jpeg_of()}, data=fields)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_what_is_no_picture_is_refused(serve):
    client = serve()
    for content in (b"", b"text", jpeg_of()[:60], b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        answer = client.post("/stylize", files={"picture": content}, data={"model": "tiny"})
        assert answer.status_code == 415, answer.text
        assert "the file" in answer.json()["error"]
    files = {"picture": jpeg_of(), "painting": b"text"}
    answer = client.post("/stylize", files=files, data={"model": "any"})
    assert answer.status_code == 415
    for model, style in (("tiny", ""), ("museum", ""), ("any", "udnie")):
        files = {"picture": jpeg_of(), "painting": jpeg_of()}
        answer = client.post("/stylize", files=files, data={"model": model, "style": style})
        assert answer.status_code == 422
        assert "painting" in answer.json()["error"]


def test_too_wide_for_the_format_is_a_line(serve):
    file = io.BytesIO()
    Image.new("RGB", (17000, 2)).save(file, "PNG")
    form = {"model": "tiny", "format": "webp"}
    answer = serve().post("/stylize", files={"picture": file.getvalue()}, data=form)
    assert answer.status_code == 422
    assert "cannot write a .webp (17000x2 pixels)" in answer.json()["error"]


OPENED: list[str] = []
"""What files this process opens, while a list is set up; an audit hook cannot be removed."""
WATCHES = [False]


def test_no_path_that_a_client_names_is_looked_at(serve, tmp_path: Path, monkeypatch):
    """A file whose name is a style of `any` would be taken for a painting by the command."""
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "udnie=0.5,mondrian=0.5"
    secret.write_bytes(jpeg_of())
    client = serve()

    def hook(event: str, arguments: tuple) -> None:
        if WATCHES[0] and event in ("open", "os.listdir", "os.scandir"):
            OPENED.append(str(arguments[0]))

    sys.addaudithook(hook)
    stat = os.stat  # which has no event
    monkeypatch.setattr(
        os, "stat", lambda path, **how: (hook("open", (path,)), stat(path, **how))[1]
    )
    names = [
        str(secret), secret.name, "/etc/passwd", "../../etc/passwd", "C:\\a.jpg", "file:///etc/passwd",
        "https://example.org/a.jpg", "a\0b", "..", "/", "", "🖼", "\u202egpj.a", "x" * 4000,
    ]  # fmt: skip
    WATCHES[0] = True
    try:
        for name in names:
            for form in (
                {"model": name},
                {"model": f"any:{name}"},
                {"model": "any", "style": name},
                {"model": "any", "style": f"{name}=0.5,udnie=0.5"},
                {"model": "museum", "style": name},
                {"model": "tiny", "format": name},
            ):
                files = {"picture": (name or "a", jpeg_of())}
                answer = client.post("/stylize", files=files, data=form)
                ok = form.get("style") == secret.name or form.get("format") == ""
                assert answer.status_code == 200 if ok else 400 <= answer.status_code < 500, form
    finally:
        WATCHES[0] = False
    looked_at = [path for path in OPENED if any(len(n) > 2 and n in path for n in names)]
    assert looked_at == []


def parts(chance: random.Random) -> tuple[bytes, str]:
    """Return a body in multipart, more or less, and its Content-Type."""
    boundary = chance.choice(("b", "-" * 40, "x" * 70, "", 'a"b', "é"))
    lines = []
    for _ in range(chance.choice((0, 1, 2, 3, 3, 3, 8, 40))):
        name = chance.choice(
            (
                "picture",
                "painting",
                "model",
                "style",
                "strength",
                "strokes",
                "quality",
                "",
                "\0",
                "é",
            )
        )
        file = chance.choice(("", '; filename="a.jpg"', '; filename="../a"', "; filename*=x''%00"))
        value = chance.choice(
            (
                b"tiny",
                b"museum",
                b"any",
                b"udnie",
                b"1",
                b"nan",
                b"\xff\xfe",
                b"",
                b"a\0",
                jpeg_of(16),
            )
        )
        if name in ("picture", "painting") and chance.random() < 0.7:
            file, value = '; filename="a.jpg"', damage(jpeg_of(16), chance)
        head = f'Content-Disposition: form-data; name="{name}"{file}\r\n'.encode()
        odd = chance.choice(
            (b"", b"", b"Content-Type: image/jpeg\r\n", b"X: " + b"y" * 99 + b"\r\n")
        )
        lines.append(b"--" + boundary.encode() + b"\r\n" + head + odd + b"\r\n" + value + b"\r\n")
    body = b"".join(lines) + b"--" + boundary.encode() + b"--\r\n"
    if chance.random() < 0.4:
        body = damage(body, chance)
    kind = chance.choice(
        ("multipart/form-data; boundary=", "multipart/form-data; boundary=", "multipart/form-data;",
         "application/x-www-form-urlencoded; ", "application/json; ", "; ")
    )  # fmt: skip
    return body, kind + boundary


def test_odd_requests_are_answered_and_never_a_bug(serve):
    client = serve(max_bytes=200_000)
    chance = random.Random(7)
    statuses = set()
    for number in range(200):
        body, kind = parts(chance)
        answer = client.post("/stylize", content=body, headers={b"content-type": kind.encode()})
        assert answer.status_code < 500, (number, answer.text)
        assert answer.status_code == 200 or "error" in answer.json()
        statuses.add(answer.status_code)
    for number in range(80):  # what is whole but for one thing
        files = {"picture": damage(jpeg_of(16), chance)}
        if chance.random() < 0.3:
            files["painting"] = damage(jpeg_of(16), chance)
        form = {
            "model": chance.choice(("tiny", "any", "museum")),
            "style": chance.choice(("", "udnie", "udnie=1,mondrian=2", "udnie=", ",", "=")),
            "strength": chance.choice(("0", "1", "-0", "1e-300", "٣")),
            "strokes": chance.choice(("0.25", "16", "1", "")),
        }
        answer = client.post("/stylize", files=files, data=form)
        assert answer.status_code < 500, (number, answer.text)
        statuses.add(answer.status_code)
    assert statuses >= {200, 400, 415, 422}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "ODD"])
def test_other_methods_are_refused(serve: Callable, method: str):
    assert serve().request(method, "/stylize").status_code == 405
