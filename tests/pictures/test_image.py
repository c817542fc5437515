"""Pictures in and out."""

import errno
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from fst.pictures.image import UnreadableImageError, open_rgb, read_image, resize, write_image


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def test_a_png_is_read_exactly_and_written_back(pixels, tmp_path: Path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.shape == (1, 3, 12, 20)
    assert image.dtype == torch.float32
    expected = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    assert torch.equal(image, expected)
    write_image(image, tmp_path / "new" / "b.png")
    assert torch.equal(read_image(tmp_path / "new" / "b.png"), image)


def test_every_exif_orientation_shows_the_same_picture(pixels, tmp_path: Path):
    upright = Image.fromarray(pixels)
    undo = Image.Transpose
    stored = {
        1: upright,
        2: upright.transpose(undo.FLIP_LEFT_RIGHT),
        3: upright.transpose(undo.ROTATE_180),
        4: upright.transpose(undo.FLIP_TOP_BOTTOM),
        5: upright.transpose(undo.TRANSPOSE),
        6: upright.transpose(undo.ROTATE_90),
        7: upright.transpose(undo.TRANSVERSE),
        8: upright.transpose(undo.ROTATE_270),
    }
    for orientation, picture in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(tmp_path / "a.png", exif=exif)
        assert np.array_equal(np.array(open_rgb(tmp_path / "a.png")), pixels), orientation


def test_16_bits_are_scaled_not_cut_off(tmp_path: Path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        grey = np.array(open_rgb(tmp_path / name))
        assert np.abs(grey[..., 0].astype(int) - ramp / 257).max() <= 0.51, name
        assert np.array_equal(grey[..., 0], grey[..., 2])


def test_floating_point_grey_keeps_its_values(tmp_path: Path):
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.abs(np.array(open_rgb(tmp_path / "a.tif"))[..., 0] - values * 255).max() <= 0.51


def test_transparency_is_laid_over_white(tmp_path: Path):
    half_red = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    half_red.save(tmp_path / "a.png")
    assert np.abs(np.array(open_rgb(tmp_path / "a.png"))[0, 0] - [255, 127, 127]).max() <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255, 0, 255, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    assert np.array(open_rgb(tmp_path / "p.png"))[0, 0].tolist() == [255, 255, 255]
    grey = Image.new("LA", (4, 4), (0, 0))
    grey.save(tmp_path / "la.png")
    assert np.array(open_rgb(tmp_path / "la.png"))[0, 0].tolist() == [255, 255, 255]


def test_an_icc_profile_is_converted_to_srgb(pixels, tmp_path: Path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "same.png", icc_profile=profile)
    assert np.abs(np.array(open_rgb(tmp_path / "same.png")).astype(int) - pixels).max() <= 1
    # The profile of a display with red and blue exchanged: the same numbers, other colours.
    swapped = bytearray(profile)
    red, blue = swapped.find(b"rXYZ"), swapped.find(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    Image.fromarray(pixels).save(tmp_path / "bgr.png", icc_profile=bytes(swapped))
    shown = np.array(open_rgb(tmp_path / "bgr.png")).astype(int)
    assert np.abs(shown - pixels[..., ::-1]).max() <= 2
    Image.fromarray(pixels).save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert np.array_equal(np.array(open_rgb(tmp_path / "broken.png")), pixels)


def test_cmyk_and_grey_and_animations_become_rgb(tmp_path: Path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red, green, blue = np.array(open_rgb(tmp_path / "a.jpg"))[4, 4].tolist()
    assert red > 200
    assert max(green, blue) < 60
    Image.new("1", (8, 8), 1).save(tmp_path / "b.png")
    assert np.array(open_rgb(tmp_path / "b.png"))[0, 0].tolist() == [255, 255, 255]
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    frames[0].save(tmp_path / "c.gif", save_all=True, append_images=frames[1:])
    assert np.array(open_rgb(tmp_path / "c.gif"))[0, 0].tolist() == [0, 0, 255]


def test_what_is_no_picture_says_why(pixels, tmp_path: Path, recwarn, monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((200, 200)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    for name, content, reason in [
        ("empty.jpg", b"", "no picture of a known format"),
        ("text.png", b"hello", "no picture of a known format"),
        ("cut.jpg", whole[: len(whole) // 2], "truncated"),
    ]:
        (tmp_path / name).write_bytes(content)
        for source in (tmp_path / name, content):
            with pytest.raises(UnreadableImageError, match=reason):
                open_rgb(source)
    with pytest.raises(FileNotFoundError, match="no picture .*missing.jpg"):
        open_rgb(tmp_path / "missing.jpg")
    with pytest.raises(UnreadableImageError, match="is a folder"):
        open_rgb(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match="too large to decode"):
        open_rgb(whole)
    assert not recwarn.list


def test_a_failed_write_leaves_the_old_picture(tmp_path: Path, monkeypatch):
    write_image(torch.zeros(1, 3, 4, 4), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_image(torch.ones(1, 3, 4, 4), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".tif", ".png"])
def test_every_format_keeps_a_smooth_picture(suffix: str, tmp_path: Path):
    across = torch.linspace(0, 1, 64)
    image = torch.stack([across.expand(64, 64), across.expand(64, 64).T, 1 - across.expand(64, 64)])
    write_image(image[None], tmp_path / f"a{suffix}")
    assert (read_image(tmp_path / f"a{suffix}") - image).abs().mean() < 0.01


def test_values_are_rounded_and_cut_to_the_range(tmp_path: Path):
    values = torch.tensor([-1.0, 0.5 / 255, 0.6 / 255, 2.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    write_image(values, tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png")[0, 0, 0] * 255).round().tolist() == [0, 0, 1, 255]
    with pytest.raises(ValueError, match=r"unknown suffix '.xyz'; take one of .jpg"):
        write_image(values, tmp_path / "a.xyz")


def test_resize_sets_the_shorter_side_and_does_not_alias():
    stripes = torch.tensor([0.0, 1.0]).repeat(200).expand(1, 3, 100, 400)
    small = resize(stripes, 25)
    assert small.shape == (1, 3, 25, 100)
    assert (small - 0.5).abs().max() < 0.1  # finer than its pixels: grey, not moire
