"""Grey of more than 8 bits."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

import fst
from fst.pictures.forms import to_images
from fst.pictures.image import open_rgb

RAMP = np.linspace(0, 1, 160 * 120).reshape(120, 160)


def read_grey(path: Path) -> np.ndarray:
    return np.array(open_rgb(path))[..., 0].astype(int)


@pytest.mark.parametrize(
    "pixels",
    [
        (RAMP * 65535).astype(np.uint16),
        (RAMP * 65535).astype(np.int32),
        (RAMP * 255).astype(np.int32),
        RAMP.astype(np.float32),
        (RAMP * 255).astype(np.float32),
    ],
    ids=["16-bit", "int32 of 16 bits", "int32 of 8 bits", "float", "float up to 255"],
)
def test_pictures_in_python_are_as_their_files(pixels: np.ndarray, tmp_path: Path):
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.tif")
    assert np.abs(read_grey(tmp_path / "a.tif") - RAMP * 255).max() <= 1
    read = (fst.read_image(tmp_path / "a.tif") * 255).round().int()
    for given in (picture, Image.open(tmp_path / "a.tif")):
        assert (to_images(given).int() - read).abs().max() <= 1


@pytest.mark.parametrize("highlight", [1.02, 7.0, 1e6, np.inf])
@pytest.mark.parametrize("count", [1, 100])
def test_a_few_floats_above_white_do_not_make_a_picture_black(
    highlight: float, count: int, tmp_path: Path
):
    values = np.full((120, 160), 0.5, np.float32)
    values.flat[:count] = highlight
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_grey(tmp_path / "a.tif")[60, 90] == 128
    assert read_grey(tmp_path / "a.tif")[0, 0] == 255


def test_floats_up_to_255_and_65535_keep_their_range(tmp_path: Path):
    photo = np.random.default_rng(0).normal(120, 60, (120, 160)).clip(0, 290).astype(np.float32)
    dark = np.where(RAMP < 0.9, 0.4, 200).astype(np.float32)
    for name, values, white in [
        ("photo", photo, 255), ("dark", dark, 255), ("deep", photo * 200, 65535),
    ]:  # fmt: skip
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        expected = (values / white * 255).clip(0, 255)
        assert np.abs(read_grey(tmp_path / f"{name}.tif") - expected).max() <= 0.51, name


@pytest.mark.parametrize("orientation", [1, 6])
def test_12_bit_tiff_is_not_dark(orientation: int, tmp_path: Path):
    values = (RAMP * 4095).round().astype(np.uint16)
    first, second = values[:, 0::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    entries = {256: 160, 257: 120, 258: 12, 259: 1, 262: 1, 277: 1, 278: 120}
    for tag, value in {**entries, 274: orientation, 273: 0, 279: packed.size}.items():
        tags.tagtype[tag] = 4 if tag in (273, 279) else 3
        tags[tag] = value
    pixels = packed.astype(np.uint8).tobytes()  # behind the tags, as Pillow assumes of offsets
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0\0\0" + tags.tobytes(8) + pixels)
    expected = RAMP * 255 if orientation == 1 else np.rot90(RAMP * 255, -1)
    assert np.abs(read_grey(tmp_path / "a.tif") - expected).max() <= 0.55
