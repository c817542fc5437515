"""Enlarging: tiles like the whole, every form of picture, files of every kind, clear refusals."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fst
from fst.config import FastConfig, FastUpscalerConfig, JohnsonUpscalerConfig
from fst.errors import UserError
from fst.models.export import export_model
from fst.models.model_file import describe, open_model, save_model
from fst.models.model_ref import ModelRef, find_model
from fst.networks.fast import Fast
from fst.networks.upscaler import FastUpscaler, JohnsonUpscaler
from fst.stylizing.stylizer import load
from fst.upscaling.enlarger import Enlarger, load_enlarger


def random_enlarger(factor: int = 4) -> Enlarger:
    network = FastUpscaler(FastUpscalerConfig(factor=factor, width=8, layers=2))
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    network.requires_grad_(False)
    return Enlarger(network, describe(network), torch.device("cpu"), torch.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    enlarger = random_enlarger()
    save_model(tmp_path / "x4.safetensors", enlarger.network, enlarger.info)
    return tmp_path / "x4.safetensors"


@pytest.mark.parametrize("factor", [3, 4])
def test_tiles_equal_the_whole(factor: int):
    enlarger, image = random_enlarger(factor), torch.rand(2, 3, 45, 71)
    done: list[float] = []
    tiled = enlarger(image, tile_px=32, progress=done.append)
    torch.testing.assert_close(tiled, enlarger(image, tile_px=0), rtol=0, atol=1e-5)
    assert tiled.shape == (2, 3, 45 * factor, 71 * factor)
    assert done[-1] == 1
    torch.testing.assert_close(tiled, enlarger.network(image), rtol=0, atol=1e-5)


def test_every_form_of_picture_comes_back_in_its_form():
    enlarger = random_enlarger()
    floats = torch.rand(1, 3, 10, 12)
    pixels = (floats * 255).round().byte()
    expected = (enlarger(pixels.float() / 255) * 255).round().byte()
    assert torch.equal(enlarger(pixels), expected)
    frame = pixels[0].permute(1, 2, 0).numpy()
    assert np.array_equal(enlarger(frame), expected[0].permute(1, 2, 0).numpy())
    picture = Image.fromarray(frame)
    picture.putalpha(77)
    enlarged = enlarger(picture)
    assert enlarged.size == (48, 40)
    assert enlarged.getchannel("A").getextrema() == (77, 77)


def test_any_scale_up_to_the_factor():
    enlarger, image = random_enlarger(), torch.rand(1, 3, 10, 13)
    assert enlarger(image, scale=2.5).shape == (1, 3, 25, 32)
    assert enlarger(image, scale=1).shape == image.shape
    for scale in (0.5, 4.1):
        with pytest.raises(UserError, match=r"scale=.* must be in \[1, 4\]"):
            enlarger(image, scale=scale)


def test_a_picture_of_one_pixel_becomes_a_block():
    assert random_enlarger()(torch.rand(1, 3, 1, 1)).shape == (1, 3, 4, 4)


def test_a_result_beyond_all_bounds_is_refused_before_it_is_computed():
    with pytest.raises(UserError, match="would become 40000x40000, above the limit"):
        random_enlarger()(torch.zeros(1, 3, 1, 1).expand(1, 3, 10_000, 10_000))


def test_a_model_that_gives_no_numbers_is_an_error():
    enlarger = random_enlarger()
    enlarger.network.head.bias.fill_(torch.nan)
    with pytest.raises(UserError, match="not finite"):
        enlarger(torch.rand(1, 3, 8, 8))


def test_a_half_that_gives_no_numbers_is_to_be_tried_in_fp32():
    network = random_enlarger().network
    network.head.bias.fill_(torch.nan)
    half = Enlarger(network, describe(network), torch.device("cpu"), torch.bfloat16)
    with pytest.raises(UserError, match="not finite: .*, or try dtype fp32"):
        half(torch.rand(1, 3, 8, 8))


def test_the_package_names_what_enlarges():
    assert fst.load_enlarger is load_enlarger
    assert {"load_enlarger", "Enlarger"} <= {*fst.__all__}


def test_small_pictures_are_made_as_for_the_network_whatever_its_file_leaves_out(tmp_path: Path):
    network = JohnsonUpscaler(JohnsonUpscalerConfig(factor=4, width=4, residual_blocks=1))
    info = describe(network)
    del info.network_arguments["degradation"]  # the network's own default is then meant
    save_model(tmp_path / "paper.safetensors", network, info)
    assert load_enlarger(tmp_path / "paper.safetensors").degradation == "johnson"
    assert load_enlarger("upscale_x4").degradation == "bicubic"


def test_models_are_told_apart(model: Path, tmp_path: Path):
    with pytest.raises(UserError, match="super-resolution: use it with fst upscale"):
        load(model)
    network = Fast(FastConfig(width=8, residual_blocks=1))
    save_model(tmp_path / "style.safetensors", network, describe(network))
    for chosen in ("", ":udnie"):  # whether it has styles is beside the point
        with pytest.raises(UserError, match="stylizes: use it with fst stylize"):
            load_enlarger(f"{tmp_path}/style.safetensors{chosen}")


def test_a_model_file_gives_the_same_pictures_again(model: Path):
    read = open_model(find_model(model))
    network, info = read.network, read.info
    assert (info.network, info.network_arguments["factor"]) == ("fast_upscaler", 4)
    image = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(load_enlarger(model, dtype="fp32")(image), network(image))


def test_the_command_keeps_what_files_hold(fst_here, model: Path, tmp_path: Path):
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    rgba = Image.new("RGBA", (20, 10), (200, 40, 40, 255))
    rgba.paste((0, 0, 0, 0), (0, 0, 10, 10))
    rgba.save(folder / "clear.png")
    exif = Image.Exif()
    exif[0x013B] = "Someone"  # artist
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (20, 10), "teal").save(folder / "deeper" / "turned.jpg", exif=exif)
    (folder / "notes.txt").write_text("no picture")
    done = fst_here("upscale", model, folder, "-o", "out")
    assert (done.returncode, "skipped 1 file" in done.stdout) == (0, True)
    with Image.open(tmp_path / "out" / "clear.png") as clear:
        assert clear.size == (80, 40)
        alpha = np.asarray(clear.getchannel("A"))
    assert alpha[:, :32].max() == 0
    assert alpha[:, -32:].min() == 255
    with Image.open(tmp_path / "out" / "deeper" / "turned.jpg") as turned:
        assert turned.size == (40, 80)
        assert turned.getexif()[0x013B] == "Someone"
        assert 0x0112 not in turned.getexif()


def test_the_command_refuses_in_one_line(fst_here, model: Path):
    for arguments, line in (
        (("-o", "out"), "nothing to enlarge"),
        (("gone.png", "-o", "out.png"), "no picture gone.png"),
        (("gone.png", "-o", "out.png", "--scale", "9"), r"scale=9 must be in [1, 4]"),
    ):
        done = fst_here("upscale", model, *arguments)
        assert done.returncode == 2
        assert line in done.stderr
        assert "Traceback" not in done.stderr


def test_half_precision_keeps_colours():
    enlarger = random_enlarger()
    image = torch.rand(1, 3, 24, 24)
    expected = enlarger(image)
    half = Enlarger(enlarger.network, enlarger.info, torch.device("cpu"), torch.bfloat16)
    found = half(image)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.03
    assert abs((found - expected).mean().item()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_scaled_results_have_the_dtype_of_the_picture(dtype: torch.dtype):
    enlarger = random_enlarger()
    image = torch.rand(1, 3, 8, 8)
    given = (image * 255).byte() if dtype == torch.uint8 else image.to(dtype)
    found = enlarger(given, scale=2)
    assert (found.dtype, found.shape) == (dtype, (1, 3, 16, 16))
    unit = found.float() / 255 if dtype == torch.uint8 else found.float()
    torch.testing.assert_close(unit, enlarger(image, scale=2), rtol=0, atol=0.02)


def test_a_style_cannot_be_chosen(model: Path):
    with pytest.raises(UserError, match="leave out :sharp"):
        load_enlarger(f"{model}:sharp")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"factor": 4.0}, "factor=4.0 must be an integer"),
        ({"factor": 400}, "factor=400 must be an integer in"),
        ({"width": 8}, "tensors differ"),
        ({"degradation": "none"}, "network.degradation=none is unknown"),
        ({"layers": 10**9}, "layers"),
    ],
)
def test_damaged_metadata_is_one_clear_error(model: Path, tmp_path: Path, arguments, reason: str):
    read = open_model(find_model(model))
    network, info = read.network, read.info
    changed = {**info.network_arguments, **arguments}
    if "width" in arguments:
        changed["width"] = 16
    save_model(tmp_path / "odd.safetensors", network, replace(info, network_arguments=changed))
    with pytest.raises(UserError, match=reason):
        load_enlarger(tmp_path / "odd.safetensors")


def test_an_exported_model_must_enlarge_by_what_its_file_says(model: Path, tmp_path: Path):
    pytest.importorskip("onnxscript", reason="pip install 'fst-style-transfer[export]'")
    export_model(ModelRef(model), tmp_path / "x4.onnx")
    exported = load_enlarger(tmp_path / "x4.onnx")
    image = torch.rand(1, 3, 11, 7)
    torch.testing.assert_close(exported(image), load_enlarger(model, dtype="fp32")(image))
    with pytest.raises(UserError, match="use it with fst upscale"):
        load(tmp_path / "x4.onnx")
    exported.factor = 2
    with pytest.raises(UserError, match="does not enlarge by 2"):
        exported(image)
