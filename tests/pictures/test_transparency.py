"""Soft edges and clear colours."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fst.pictures.forms import in_form_of, to_images
from fst.pictures.image import Picture, open_rgb, read_picture, write_picture
from fst.pictures.transparency import continue_colours

RED = (200, 30, 60)


def soft_edge(width: int = 160, height: int = 120, colour: tuple[int, ...] = RED) -> Image.Image:
    """Return one colour, clear on the left and opaque on the right, garbage where it is clear."""
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = colour
    pixels[..., 3] = np.linspace(0, 255, width).round()
    pixels[pixels[..., 3] == 0] = (255, 255, 255, 0)
    return Image.fromarray(pixels)


def away_from(picture: Picture, colour: tuple[int, ...]) -> int:
    """Return how far the colours are at most from one, wherever there is something to see."""
    assert picture.alpha is not None
    visible = (picture.alpha > 8).expand_as(picture.rgb)
    expected = torch.tensor(colour)[:, None, None]
    return int((picture.rgb - expected).abs()[visible].max())


def test_colours_are_not_mixed_with_white_where_they_are_soft(tmp_path: Path):
    soft_edge().save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert away_from(picture, RED) == 0
    assert np.array_equal(picture.alpha[0, 0], np.array(soft_edge())[..., 3])
    write_picture(picture, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as opened:
        written = np.array(opened)
    assert np.array_equal(written[:, 8:], np.array(soft_edge())[:, 8:])


@pytest.mark.parametrize("size_px", [7, 50, 119, 240])
@pytest.mark.parametrize("colour", [RED, (255, 255, 255), (0, 0, 0), (250, 5, 128)])
def test_scaling_takes_no_colour_from_what_is_clear(size_px: int, colour, tmp_path: Path):
    cut_out = np.zeros((120, 160, 4), np.uint8)  # black where it is clear, as many tools leave it
    cut_out[..., :3] = 255 - np.array(colour)
    cut_out[30:90, 40:120] = (*colour, 255)
    Image.fromarray(cut_out).save(tmp_path / "a.png")
    assert away_from(read_picture(tmp_path / "a.png", size_px), colour) <= 1
    soft_edge(colour=colour).save(tmp_path / "b.png")
    assert away_from(read_picture(tmp_path / "b.png", size_px), colour) <= 1


def test_colours_count_by_their_alpha_when_scaled(tmp_path: Path):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 0::2] = (240, 0, 0, 255)
    pixels[:, 1::2] = (0, 0, 240, 51)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    red, green, blue = read_picture(tmp_path / "a.png", 8).rgb[0, :, 4, 4].tolist()
    assert abs(red - 200) <= 2  # five parts of six
    assert green == 0
    assert abs(blue - 40) <= 2


@pytest.mark.parametrize("size", [(160, 120), (1, 90), (97, 1), (1300, 900), (3, 400_003)])
def test_a_network_sees_the_nearest_colours_where_the_picture_is_clear(size: tuple[int, int]):
    left, right = Image.new("RGB", size, (10, 200, 30)), Image.new("L", size, 0)
    if size[0] > 2:
        left.paste((90, 20, 250), (size[0] // 2, 0, *size))
        right.paste(255, (0, 0, size[0] // 4, size[1]))
        right.paste(255, (size[0] - max(1, size[0] // 4), 0, *size))
    else:
        right.paste(255, (0, 0, size[0], size[1] // 3))
    visible = np.array(right) > 8
    before = np.array(left)
    shown = np.array(continue_colours(left.copy(), right))
    assert np.array_equal(shown[visible], before[visible])
    wiped = Image.fromarray(np.where(visible[..., None], before, 255).astype(np.uint8))
    filled = np.array(continue_colours(wiped, right))
    assert filled[..., 1].max() <= 200  # nothing of the white
    assert filled[..., 0].max() <= 90
    if size == (160, 120):
        assert np.abs(filled[60, 45].astype(int) - (10, 200, 30)).max() <= 40


def test_invisible_and_opaque_pictures_keep_their_colours():
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for alpha in (0, 255):
        picture = Image.fromarray(noise)
        shown = continue_colours(picture, Image.new("L", picture.size, alpha))
        assert np.array_equal(np.array(shown), noise)


def test_jpeg_is_composited_over_white_when_it_is_written(tmp_path: Path):
    soft_edge().save(tmp_path / "a.png")
    write_picture(read_picture(tmp_path / "a.png"), tmp_path / "b.jpg", quality=100)
    white = np.array(open_rgb(tmp_path / "a.png")).astype(int)
    assert np.abs(np.array(open_rgb(tmp_path / "b.jpg")) - white).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_pictures_in_python_keep_their_soft_edges(mode: str):
    given = soft_edge(colour=(90, 90, 90)).convert(mode)
    images = to_images(given)
    visible = np.array(given.convert("RGBA"))[..., 3] > 8
    assert (images[0, :, torch.from_numpy(visible)].int() - 90).abs().max() <= 1
    result = in_form_of(images, given)
    assert result.mode == "RGBA"
    assert np.array_equal(np.array(result)[..., 3], np.array(given.convert("RGBA"))[..., 3])


def grey_png(bits: int, values: list[int], clear: int, colours: int = 0) -> bytes:
    """Return a PNG of one row, of grey or (2) of colours with equal channels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    channels = 3 if colours else 1
    number = int("".join(f"{value:0{bits}b}" * channels for value in values), 2)
    row = number.to_bytes(bits * channels * len(values) // 8, "big")
    header = struct.pack(">IIBBBBB", len(values), 1, bits, colours, 0, 0, 0)
    parts = [
        chunk(b"IHDR", header),
        chunk(b"tRNS", struct.pack(">H", clear) * channels),
        chunk(b"IDAT", zlib.compress(b"\0" + row)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("bits", "values", "clear", "expected"),
    [
        (1, [0, 1, 1, 0, 0, 0, 0, 0], 1, [255, 0, 0, 255, 255, 255, 255, 255]),
        (2, [0, 1, 2, 3], 1, [255, 0, 255, 255]),
        (4, [0, 1, 2, 15], 2, [255, 255, 0, 255]),
        (8, [0, 1, 2, 255], 2, [255, 255, 0, 255]),
        (16, [0, 2, 700, 65535], 700, [255, 255, 0, 255]),
        (16, [0, 2, 700, 65535], 0, [0, 255, 255, 255]),
    ],
)
def test_the_clear_colour_of_a_grey_png_is_clear_at_every_depth(
    bits: int, values: list[int], clear: int, expected: list[int], tmp_path: Path
):
    (tmp_path / "a.png").write_bytes(grey_png(bits, values, clear))
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == expected
    grey = [round(value * 255 / (2**bits - 1)) for value in values]
    visible = [pixel for pixel, alpha in zip(grey, expected, strict=True) if alpha]
    shown = picture.rgb[0, 0, 0][picture.alpha[0, 0, 0] > 0].tolist()
    assert shown == visible
    ground = [pixel if alpha else 255 for pixel, alpha in zip(grey, expected, strict=True)]
    assert np.array(open_rgb(tmp_path / "a.png"))[0, :, 0].tolist() == ground


def test_the_clear_colour_of_a_16_bit_rgb_png_is_clear(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(grey_png(16, [0, 40_000, 65535], 40_000, colours=2))
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [255, 0, 255]
