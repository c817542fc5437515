"""Pictures in and out."""

import errno
import io
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageColor

from fst.errors import UserError
from fst.pictures.formats import is_picture
from fst.pictures.image import (
    Picture,
    UnreadableImageError,
    files_below,
    open_rgb,
    read_image,
    read_picture,
    resize,
    write_image,
    write_picture,
)


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


def test_unreadable_pictures_say_why(pixels, tmp_path: Path, monkeypatch):
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((200, 200)).save(buffer, "JPEG")
    whole = buffer.getvalue()
    for name, content, reason in [
        ("empty.jpg", b"", "not a picture in a known format"),
        ("text.png", b"hello", "not a picture in a known format"),
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


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp", ".tif", ".png", ".avif"])
def test_every_format_keeps_a_smooth_picture(suffix: str, tmp_path: Path):
    across = torch.linspace(0, 1, 64)
    image = torch.stack([across.expand(64, 64), across.expand(64, 64).T, 1 - across.expand(64, 64)])
    write_image(image[None], tmp_path / f"a{suffix}")
    assert (read_image(tmp_path / f"a{suffix}") - image).abs().mean() < 0.01


def test_values_are_rounded_and_cut_to_the_range(tmp_path: Path):
    values = torch.tensor([-1.0, 0.5 / 255, 0.6 / 255, 2.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    write_image(values, tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png")[0, 0, 0] * 255).round().tolist() == [0, 0, 1, 255]
    with pytest.raises(ValueError, match=r"unknown suffix '.xyz'; use one of .avif"):
        write_image(values, tmp_path / "a.xyz")


def test_resize_sets_the_shorter_side_and_does_not_alias():
    stripes = torch.tensor([0.0, 1.0]).repeat(200).expand(1, 3, 100, 400)
    small = resize(stripes, 25)
    assert small.shape == (1, 3, 25, 100)
    assert (small - 0.5).abs().max() < 0.1  # finer than its pixels: grey, not moire


DATES = {0x9003: "2020:01:02 03:04:05", 0x9011: "+01:00"}


def with_exif(path: Path, **details: object) -> Path:
    """Write a JPEG with a description, an artist and the date on which it was taken."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = "a hill", "A. Painter"
    exif[0x8769] = DATES
    Image.new("RGB", (8, 8), "red").save(path, exif=exif, **details)
    return path


def test_metadata_survive_where_the_format_has_room(tmp_path: Path):
    picture = read_picture(with_exif(tmp_path / "a.jpg"))
    assert picture.notes == ()
    for suffix in (".jpg", ".png", ".webp", ".avif"):
        assert write_picture(picture, tmp_path / f"b{suffix}") == ()
        with Image.open(tmp_path / f"b{suffix}") as written:
            exif = written.getexif()
        assert exif[0x010E] == "a hill", suffix
        assert exif.get_ifd(0x8769) == DATES, suffix


def test_tiff_is_written_without_the_dates_that_it_cannot_hold(tmp_path: Path):
    picture = read_picture(with_exif(tmp_path / "a.jpg"))
    (note,) = write_picture(picture, tmp_path / "b.tif")
    assert "dates" in note
    with Image.open(tmp_path / "b.tif") as written:
        assert written.getexif()[0x013B] == "A. Painter"
        assert torch.equal(read_picture(tmp_path / "b.tif").rgb, picture.rgb)


def test_metadata_too_long_for_jpeg_are_dropped_with_a_note(tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E] = "x" * 70_000
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png", exif=exif)
    picture = read_picture(tmp_path / "a.png")
    (note,) = write_picture(picture, tmp_path / "b.jpg")
    assert "EXIF" in note
    assert (read_picture(tmp_path / "b.jpg").rgb.int() - picture.rgb.int()).abs().max() <= 2
    assert write_picture(picture, tmp_path / "b.png") == ()


def test_orientation_is_applied_whatever_else_the_metadata_hold(pixels, tmp_path: Path):
    """Here the resolution is text, where it should be a fraction."""
    entries = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack(">HHI4s", 0x011A, 2, 4, b"72")
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + entries + bytes(4)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    shown = np.array(open_rgb(tmp_path / "a.png"))
    assert np.array_equal(shown, np.rot90(pixels, -1))
    assert write_picture(read_picture(tmp_path / "a.png"), tmp_path / "b.jpg") == ()


def test_damaged_metadata_are_dropped_with_a_note(tmp_path: Path, monkeypatch):
    path = with_exif(tmp_path / "a.jpg")

    def fail(self: Image.Exif) -> bytes:
        raise struct.error("argument out of range")

    monkeypatch.setattr(Image.Exif, "tobytes", fail)
    picture = read_picture(path)
    assert picture.exif == b""
    assert "metadata" in picture.notes[0]


def test_eps_never_reaches_ghostscript(tmp_path: Path, monkeypatch):
    from PIL import EpsImagePlugin

    def run(*_: object) -> None:
        raise AssertionError("Ghostscript would have run")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    eps = tmp_path / "x.png"
    Image.new("RGB", (8, 8)).save(eps, format="EPS")
    with pytest.raises(UnreadableImageError, match="not a picture in a known format"):
        open_rgb(eps)
    assert not is_picture(eps)


def test_16_bits_are_scaled_in_strips_and_in_bounded_memory(tmp_path: Path):
    pytest.importorskip("resource")
    side = 6000
    Image.new("I;16", (side, side), 30_000).save(tmp_path / "a.png", compress_level=1)
    code = (
        "import resource, sys; from fst.pictures.image import open_rgb;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "picture = open_rgb(sys.argv[1]); assert picture.getpixel((5999, 5999)) == (117,) * 3;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 9 * side * side  # float64 alone is 8 bytes a pixel


def test_values_that_are_not_numbers_become_black(tmp_path: Path):
    values = np.array([[0, np.nan, 1, 0.5]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    with warnings.catch_warnings(action="error"):
        assert np.array(open_rgb(tmp_path / "a.tif"))[0, 1].tolist() == [0, 0, 0]


def test_scaling_to_an_absurd_size_is_refused(tmp_path: Path):
    Image.new("RGB", (30_000, 1)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.png: a picture of 30000x1 .* 15360000x512"):
        read_picture(tmp_path / "a.png", 512)
    with pytest.raises(UserError, match="smaller size"):
        resize(torch.zeros(1, 3, 1, 30_000), 512)
    assert read_picture(tmp_path / "a.png", 20).rgb.shape == (1, 3, 20, 600_000)


def test_decoding_leaves_the_process_s_warning_filters_alone(pixels, tmp_path: Path, monkeypatch):
    """Pictures are decoded in threads, and `catch_warnings` is not thread-safe."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("catch_warnings in a thread")

    Image.fromarray(pixels).save(tmp_path / "a.png")
    with monkeypatch.context() as patched:  # pytest itself uses it between tests
        patched.setattr(warnings, "catch_warnings", fail)
        decoded = np.array(open_rgb(tmp_path / "a.png"))
    assert np.array_equal(decoded, pixels)


def test_pillow_s_warnings_are_not_shown(tmp_path: Path):
    Image.new("1", (10_000, 9000)).save(tmp_path / "a.png")  # Pillow warns about its size
    code = "import sys; from fst.pictures.image import open_rgb; open_rgb(sys.argv[1])"
    command = [sys.executable, "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_a_lower_quality_gives_a_smaller_file(suffix: str, tmp_path: Path):
    noise = Picture((torch.rand(1, 3, 64, 64) * 255).byte())
    sizes = []
    for quality in (30, 80, 95):
        write_picture(noise, tmp_path / f"{quality}{suffix}", quality)
        sizes.append((tmp_path / f"{quality}{suffix}").stat().st_size)
    assert sizes == sorted(set(sizes))
    write_picture(noise, tmp_path / f"default{suffix}")
    assert (tmp_path / f"default{suffix}").stat().st_size == sizes[2]
    for quality in (0, 101):
        with pytest.raises(UserError, match="quality"):
            write_picture(noise, tmp_path / f"a{suffix}", quality)


def test_animations_are_marked(tmp_path: Path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("blue", "red")]
    for suffix in (".gif", ".webp", ".png", ".tif"):
        path = tmp_path / f"a{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert read_picture(path).animated, suffix
        frames[0].save(path)
        assert not read_picture(path).animated, suffix
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:])
    assert not read_picture(tmp_path / "a.mpo").animated  # a photograph with a preview


def test_pictures_are_recognised_by_content(pixels, tmp_path: Path):
    for suffix in (".jpg", ".png", ".webp", ".avif", ".gif", ".tif", ".bmp", ".jp2"):
        Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
        (tmp_path / f"a{suffix}").rename(tmp_path / "a.bin")
        assert is_picture(tmp_path / "a.bin"), suffix
        assert open_rgb(tmp_path / "a.bin").size == (20, 12)
    for content in (b"", b"text", bytes(1000), b"<svg/>"):
        (tmp_path / "a.png").write_bytes(content)
        assert not is_picture(tmp_path / "a.png")
    assert not is_picture(tmp_path)
    assert not is_picture(tmp_path / "missing.png")


def test_heic_is_read(tmp_path: Path):
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    pillow_heif.from_pillow(picture).save(tmp_path / "a.heic", quality=-1)
    assert is_picture(tmp_path / "a.heic")
    shown = np.array(open_rgb(tmp_path / "a.heic")).astype(int)
    assert np.abs(shown - np.array(picture)).mean() < 2


def test_heic_without_its_extra_names_it(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert is_picture(tmp_path / "a.jpg")
    for source in (tmp_path / "a.jpg", (tmp_path / "a.jpg").read_bytes()):
        with pytest.raises(UnreadableImageError, match=r"pip install .*\[heif\]"):
            open_rgb(source)


@pytest.mark.parametrize(
    ("size", "expected"), [((90, 60), (30, 20)), ((30, 20), (30, 20)), ((9000, 1), (600, 1))]
)
def test_a_picture_is_reduced_before_it_becomes_floats(size, expected, tmp_path: Path):
    Image.new("RGB", size, (51, 102, 204)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", most_px=600)
    assert image.shape == (1, 3, expected[1], expected[0])
    assert (image[0, :, 0, 0] * 255).round().tolist() == [51, 102, 204]


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes, and other error messages")
def test_what_cannot_be_reached_in_a_folder_is_found_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    for name in ("a.jpg", "open/b.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "forbidden.jpg").symlink_to("x" * 300)  # an error of the system, for root as well
    (tmp_path / "missing.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    scanned = os.scandir

    def scandir(place: str):
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(place))
        return scanned(place)

    monkeypatch.setattr(os, "scandir", scandir)
    found = [str(file.relative_to(tmp_path)) for file in files_below(tmp_path)]
    assert found == ["a.jpg", "closed", "forbidden.jpg", "missing.jpg", "open/b.jpg"]
    with pytest.raises(PermissionError):
        files_below(tmp_path / "closed")
    with pytest.raises(UnreadableImageError, match=r"cannot read .*forbidden.jpg: File name too"):
        read_image(tmp_path / "forbidden.jpg")


def test_of_photographs_with_a_gain_map_the_photograph_is_read(pixels, tmp_path: Path):
    """Phones write JPEGs of two pictures: the photograph, and how much brighter HDR shows it."""
    photo = Image.fromarray(pixels).resize((160, 96), Image.Resampling.BICUBIC)
    gain_map = Image.new("L", (40, 24), 200)
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[gain_map], quality=95)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    picture = read_picture(tmp_path / "a.jpg")
    shown = picture.rgb[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(shown - np.array(photo)).mean() < 4
    assert (picture.animated, picture.alpha, picture.notes) == (False, None, ())


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_shows_its_colours(suffix: str, tmp_path: Path):
    inks = {"cyan": (255, 0, 0, 0), "yellow": (0, 0, 255, 0), "black": (0, 0, 0, 255)}
    for name, ink in inks.items():
        Image.new("CMYK", (16, 16), ink).save(tmp_path / f"a{suffix}", quality=100)
        shown = np.array(open_rgb(tmp_path / f"a{suffix}"))[8, 8].astype(int)
        assert np.abs(shown - ImageColor.getrgb(name)).max() <= 3, name
