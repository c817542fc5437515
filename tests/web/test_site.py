"""A site: its files are what its list says, their pictures those of fst, and nothing half-written.

Pictures are compared in levels of 255.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from samples import draw_picture
from torch import Tensor

import fst
from fst.errors import UserError
from fst.models.model_file import read_model
from fst.models.model_ref import ModelRef
from fst.models.onnx_session import OnnxSession
from fst.pictures.image import read_image
from fst.web import site as site_module
from fst.web.runtime import FILES
from fst.web.site import build_site

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'fst-style-transfer[export]'")


@pytest.fixture
def photo(tmp_path: Path) -> Tensor:
    return read_image(draw_picture(tmp_path / "photo.png", 5, 97, 63))


@pytest.fixture
def listed(site: Path) -> dict[str, Any]:
    return json.loads((site / "site.json").read_text(encoding="utf-8"))


@cache
def load(path: Path) -> OnnxSession:
    return OnnxSession(path, ["CPUExecutionProvider"])


def run(path: Path, **inputs: Tensor) -> Tensor:
    """Run a file whose first input is (N, C, H, W)."""
    session = load(path)
    arrays = {name: value.numpy() for name, value in inputs.items()}
    return torch.from_numpy(session.run(arrays, next(iter(inputs.values())).numel()))


def levels_apart(result: Tensor, expected: Tensor) -> float:
    assert expected.std() > 0.08, "too flat to tell results apart"
    return 255 * (result - expected).abs().max().item()


def rows_of(site: Path, model: dict[str, Any]) -> Tensor:
    values = np.frombuffer((site / model["values"]).read_bytes(), "<f4")
    return torch.from_numpy(values.reshape(len(model["styles"]), model["size"]).copy())


def test_the_list_has_every_file_with_its_size(site: Path, listed: dict[str, Any]):
    found = {
        file.relative_to(site).as_posix(): file.stat().st_size
        for file in site.rglob("*")
        if file.is_file()
    }
    assert {"site.json", "sw.js", "index.html"} <= found.keys()
    assert listed["files"] == {k: v for k, v in found.items() if k not in ("site.json", "sw.js")}
    assert {f"ort/{name}" for name in FILES} == {k for k in found if k.startswith("ort/")}
    assert not {name for name in found if "/." in f"/{name}"}
    named = [listed["ort"]["webgpu"], listed["ort"]["wasm"], *listed["examples"]]
    for model in listed["models"]:
        named += [model[key] for key in ("file", "values", "painting", "thumbnail") if key in model]
        named += [style["thumbnail"] for style in model.get("styles", [])]
    assert set(named) <= listed["files"].keys()
    assert listed["ort"]["version"] == "1.99.0"


def test_the_list_says_what_is_known_of_each_model(listed: dict[str, Any]):
    alone, anything = listed["models"]
    assert [model["name"] for model in (alone, anything)] == ["half", "anything"]
    assert (alone["title"], alone["artist"], alone["note"]) == ("Half", "", "")
    assert "values" not in alone and "painting" not in alone
    sea, sky = anything["styles"]
    assert (sea["name"], sea["title"], sea["artist"], sea["year"]) == (
        "sea", "The Sea", "A. Painter", "1900",
    )  # fmt: skip
    assert (sky["name"], sky["title"], sky["artist"]) == ("sky", "sky", "")


def test_a_network_of_one_style_gives_the_pictures_of_fst(
    site: Path, tiny_half: Path, photo: Tensor
):
    expected = fst.load(tiny_half, device="cpu", dtype="fp32")(photo)
    assert levels_apart(run(site / "models" / "half.onnx", image=photo), expected) < 0.01


@pytest.mark.parametrize("which", [0, 1])
def test_the_values_of_a_style_give_its_pictures(
    site: Path, listed: dict[str, Any], tiny_any: Path, photo: Tensor, which: int
):
    anything = listed["models"][1]
    values = rows_of(site, anything)[which : which + 1]
    expected = fst.load(f"{tiny_any}:{anything['styles'][which]['name']}", "cpu", "fp32")(photo)
    assert levels_apart(run(site / anything["file"], image=photo, values=values), expected) < 0.01


def test_values_blend_as_shares_do(
    site: Path, listed: dict[str, Any], tiny_any: Path, photo: Tensor
):
    anything = listed["models"][1]
    sea, sky = rows_of(site, anything)
    expected = fst.load(f"{tiny_any}:sea=0.3,sky=0.7", "cpu", "fp32")(photo)
    blended = run(site / anything["file"], image=photo, values=(0.3 * sea + 0.7 * sky)[None])
    assert levels_apart(blended, expected) < 0.01


PAINTINGS = {
    "small": (70, 90),
    "large": (501, 400),  # reduced for the predictor and for its colours
    "whose scale rounds down": (277, 300),  # in floats, 277 * (224 / 277) is less than 224
    "long": (60, 700),  # of which the middle is seen
    "tiny": (2, 3),
}


@pytest.mark.parametrize("size", PAINTINGS.values(), ids=PAINTINGS.keys())
def test_a_painting_s_values_give_the_pictures_of_fst(
    site: Path, tiny_any: Path, photo: Tensor, size: tuple[int, int], tmp_path: Path
):
    file = draw_picture(tmp_path / "painting.png", 11, size[1], size[0])
    stylize = fst.load(f"{tiny_any}:{file}", "cpu", "fp32")
    for strength in (0.5, 1.0, 1.5):
        values = run(
            site / "models" / "anything_painting.onnx",
            painting=read_image(file),
            strength=torch.tensor([strength]),
        )
        result = run(site / "models" / "anything.onnx", image=photo, values=values)
        assert levels_apart(result, stylize(photo, strength=strength)) < 0.1


@pytest.mark.parametrize("colours", [[[90, 120, 200]], [[250, 250, 250], [0, 0, 0]]])
def test_colours_on_a_point_or_a_line_give_the_palette_of_fst(
    site: Path, listed: dict[str, Any], tiny_any: Path, colours: list[list[int]]
):
    """Covariances with equal variances: rotations by which an axis is found are not unique."""
    painting = torch.tensor(colours).float().T.view(1, 3, 1, -1).repeat(1, 1, 40, 20) / 255
    painted = read_model(tiny_any).predict([painting])
    file = site / "models" / "anything_painting.onnx"
    values = run(file, painting=painting, strength=torch.ones(1))
    torch.testing.assert_close(values[0, -12:], painted.palettes[-1].flatten(), atol=1e-4, rtol=0)


def test_thumbnails_are_the_middle_of_the_example(site: Path, tiny_half: Path):
    thumbnail = read_image(site / "thumbnails" / "half.jpg")
    assert thumbnail.shape == (1, 3, 192, 192)
    example = Image.open(site / "examples" / "0.jpg")
    assert example.size == (240, 200)
    scaled = np.array(example.resize((230, 192), Image.Resampling.BICUBIC))[:, 19 : 19 + 192]
    picture = torch.from_numpy(scaled).permute(2, 0, 1)[None] / 255
    expected = read_model(tiny_half).stylizer(picture)
    assert (thumbnail - expected).abs().mean() < 0.02  # JPEG, twice


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("refused too late")


def test_what_is_not_for_the_page_is_refused_first(
    tiny_model: Path,
    tiny_any: Path,
    stub_ort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(site_module, "find_runtime", forbidden)
    twin = tmp_path / "other" / tiny_model.name
    twin.parent.mkdir()
    twin.write_bytes(tiny_model.read_bytes())
    upscaler = fst.models.released.released_path("upscale_x4")
    for models, said in (
        ([ModelRef(upscaler)], "is a model for super-resolution"),
        ([ModelRef(tmp_path / "style.onnx")], "is already exported"),
        ([ModelRef(tiny_any, "sea")], "leave out :sea"),
        ([ModelRef(tiny_model), ModelRef(twin)], "two models are named tiny"),
    ):
        with pytest.raises(UserError, match=said):
            build_site(tmp_path / "site", models)
    with pytest.raises(FileNotFoundError, match=r"no\.jpg"):
        build_site(tmp_path / "site", [ModelRef(tiny_model)], [tmp_path / "no.jpg"])
    assert not (tmp_path / "site").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are not exported."""
    monkeypatch.setattr(
        site_module, "write_network", lambda model, path, picture: path.write_bytes(b"network")
    )


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_site_is_replaced_on_request_and_nothing_else_is(
    quick: None, tiny_model: Path, stub_ort: Path, tmp_path: Path
):
    output, models = tmp_path / "site", [ModelRef(tiny_model)]
    sizes = build_site(output, models, ort=stub_ort)
    first = (output / "site.json").read_text(encoding="utf-8")
    assert sum(sizes.values()) == sum(f.stat().st_size for f in output.rglob("*") if f.is_file())
    with pytest.raises(FileExistsError, match="--overwrite"):
        build_site(output, models, ort=stub_ort)
    build_site(output, models, ort=stub_ort, overwrite=True)
    assert (output / "site.json").read_text(encoding="utf-8") == first, "the same content"
    photo = draw_picture(tmp_path / "photo.png", 1)
    build_site(output, models, [photo], stub_ort, overwrite=True)
    changed = json.loads((output / "site.json").read_text(encoding="utf-8"))["version"]
    assert changed != json.loads(first)["version"]
    (output / "CNAME").write_text("example.com")
    with pytest.raises(UserError, match=r"did not write \(CNAME\)"):
        build_site(output, models, ort=stub_ort, overwrite=True)
    assert names_in(tmp_path) == ["photo.png", "site"]


def test_folders_of_other_things_are_left_alone(quick: None, tiny_model: Path, tmp_path: Path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "site.json").write_text('{"files": {"chapter.tex": 3}}')
    (tmp_path / "thesis" / "chapter.tex").write_text("all")
    (tmp_path / "file").touch()
    for name, said in (("thesis", "chapter.tex"), ("file", "is a file")):
        with pytest.raises(UserError, match=said):
            build_site(tmp_path / name, [ModelRef(tiny_model)], overwrite=True)
    assert names_in(tmp_path / "thesis") == ["chapter.tex", "site.json"]


def test_what_fails_leaves_the_old_site_or_none(
    quick: None,
    tiny_model: Path,
    stub_ort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def fail(*_: object) -> None:
        raise UserError("its pictures differ")

    build_site(tmp_path / "old", [ModelRef(tiny_model)], ort=stub_ort)
    before = (tmp_path / "old" / "site.json").read_bytes()
    monkeypatch.setattr(site_module, "write_network", fail)
    for name in ("old", "new"):
        with pytest.raises(UserError, match="differ"):
            build_site(tmp_path / name, [ModelRef(tiny_model)], ort=stub_ort, overwrite=True)
    assert names_in(tmp_path) == ["old"]
    assert (tmp_path / "old" / "site.json").read_bytes() == before


def test_names_need_no_escapes_in_an_address(
    quick: None, tiny_model: Path, stub_ort: Path, tmp_path: Path
):
    run = tmp_path / "50% off? #1" / "model.safetensors"
    run.parent.mkdir()
    run.write_bytes(tiny_model.read_bytes())
    build_site(tmp_path / "site", [ModelRef(run)], ort=stub_ort)
    (model,) = json.loads((tmp_path / "site" / "site.json").read_text(encoding="utf-8"))["models"]
    assert model["file"] == "models/50__off___1.onnx"
    assert (tmp_path / "site" / model["file"]).read_bytes() == b"network"


def test_two_models_never_share_a_file(
    quick: None,
    tiny_model: Path,
    tiny_any: Path,
    stub_ort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def write_values(model: object, path: Path, picture: object) -> Tensor:
        path.write_bytes(b"network")
        return torch.zeros(2, 3)

    monkeypatch.setattr(site_module, "write_styled", write_values)
    monkeypatch.setattr(site_module, "write_predictor", forbidden)
    for content, name in ((tiny_model, "sea_painting"), (tiny_any, "sea"), (tiny_model, "sea-sky")):
        (tmp_path / f"{name}.safetensors").write_bytes(content.read_bytes())
    for other in ("sea_painting", "sea-sky"):
        models = [ModelRef(tmp_path / f"{name}.safetensors") for name in (other, "sea")]
        with pytest.raises(UserError, match=f"would both be .*/{other}"):
            build_site(tmp_path / "site", models, ort=stub_ort)
    assert not (tmp_path / "site").exists()


def test_the_command_says_what_it_wrote_and_how_to_see_it(
    quick: None, fst_here, tiny_model: Path, stub_ort: Path, photos: Path, tmp_path: Path
):
    examples = ("--example", photos / "00.png", "--example", photos / "more" / "01.png")
    done = fst_here("web", tiny_model, "-o", "page", "--ort", stub_ort, *examples)
    assert done.returncode == 0, done.stderr
    assert names_in(tmp_path / "page" / "examples") == ["0.jpg", "1.jpg"]
    assert "page: 1 models" in done.stdout
    assert "python -m http.server -d page" in done.stdout
    again = fst_here("web", tiny_model, "-o", "page", "--ort", stub_ort)
    assert again.returncode == 2
    assert "page holds a site: --overwrite replaces it" in again.stderr
