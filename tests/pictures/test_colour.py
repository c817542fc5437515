"""Colours: whatever a file declares, the same picture comes out."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from colours import ADOBE, BT2020, P3, PATCHES, SAME, encode, hlg, power, pq, srgb, srgb_light
from PIL import Image, ImageCms

from fst.pictures.colour import colours_of_codes, values_to_srgb
from fst.pictures.forms import to_images
from fst.pictures.image import open_rgb


def png(pixels: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file, RGB or grey, with these chunks."""
    height, width = pixels.shape[:2]
    kind = 2 if pixels.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    written = b"\x89PNG\r\n\x1a\n"
    for name, content in (
        (b"IHDR", struct.pack(">2I5B", width, height, 8, kind, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ):
        written += struct.pack(">I", len(content)) + name + content
        written += struct.pack(">I", zlib.crc32(name + content))
    return written


def cicp(primaries: int, transfer: int, full: int = 1) -> tuple[bytes, bytes]:
    return b"cICP", bytes((primaries, transfer, 0, full))


def gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def primaries(*points: float) -> tuple[bytes, bytes]:
    """The chunk for x and y of white, red, green and blue."""
    return b"cHRM", struct.pack(">8I", *(round(point * 100_000) for point in points))


ADOBE_POINTS = 0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06
P3_POINTS = 0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06
SRGB_POINTS = 0.3127, 0.3290, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06


def avif(pixels: np.ndarray, primaries: int, transfer: int, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", quality=100, subsampling="4:4:4", **options)
    written = file.getvalue()
    if b"colrnclx" not in written:
        return written
    at = written.index(b"colrnclx") + 8
    return written[:at] + struct.pack(">HH", primaries, transfer) + written[at + 4 :]


def camera_jpeg(pixels: np.ndarray, space: int, index: str, format: str = "JPEG") -> bytes:
    """A camera's file, whose EXIF metadata name its colours by the rules of DCF."""
    exif = Image.Exif()
    exif[0x8769] = {0xA001: space, 0xA005: {1: index}}
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, exif=exif, quality=98, subsampling=0)
    return file.getvalue()


def heic(pixels: np.ndarray, primaries: int, transfer: int) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file,
        "HEIF",
        quality=-1,
        color_primaries=primaries,
        transfer_characteristics=transfer,
        matrix_coefficients=0,
        chroma=444,
    )
    return file.getvalue()


def read_patches(source: Path | bytes) -> np.ndarray:
    """The middle of each patch as it is read, (2, 4, 3)."""
    return np.asarray(open_rgb(source)).astype(int)[8::16, 8::16]


def off(source: Path | bytes) -> int:
    return int(np.abs(read_patches(source) - PATCHES).max())


SDR = {
    "cICP Display P3": lambda: png(encode(P3, srgb), cicp(12, 13)),
    "cICP BT.2020": lambda: png(encode(BT2020, srgb), cicp(9, 13)),
    "cICP BT.2020, a camera's curve": lambda: png(encode(BT2020, srgb), cicp(9, 14)),
    "cICP gamma 2.2": lambda: png(encode(SAME, power(2.2)), cicp(1, 4)),
    "cICP linear": lambda: png(encode(SAME, power(1)), cicp(1, 8)),
    "cICP narrow": lambda: png(
        (encode(SAME, srgb) * (219 / 255) + 16).round().astype(np.uint8), cicp(1, 13, full=0)
    ),
    "cICP before all others": lambda: png(
        encode(P3, srgb), (b"sRGB", b"\0"), gamma(1), cicp(12, 13), primaries(*ADOBE_POINTS)
    ),
    "cICP unspecified": lambda: png(encode(SAME, power(1)), cicp(2, 2), gamma(1)),
    "cICP half unspecified": lambda: png(encode(P3, srgb), cicp(12, 2), gamma(1)),
    "cICP reserved": lambda: png(encode(SAME, srgb), cicp(99, 200)),
    "cICP cut off": lambda: png(encode(SAME, srgb), (b"cICP", b"\x0c\x0d")),
    "gAMA linear": lambda: png(encode(SAME, power(1)), gamma(1)),
    "gAMA 1.8": lambda: png(encode(SAME, power(1.8)), gamma(1 / 1.8)),
    "gAMA as of sRGB": lambda: png(encode(SAME, srgb), gamma(0.45455)),
    "gAMA and cHRM of sRGB": lambda: png(
        encode(SAME, srgb), gamma(0.45455), primaries(*SRGB_POINTS)
    ),
    "gAMA and cHRM of Adobe RGB": lambda: png(
        encode(ADOBE, power(563 / 256)), gamma(256 / 563), primaries(*ADOBE_POINTS)
    ),
    "cHRM": lambda: png(encode(P3, srgb), primaries(*P3_POINTS)),
    "sRGB before gAMA and cHRM": lambda: png(
        encode(SAME, srgb), (b"sRGB", b"\0"), gamma(1), primaries(*ADOBE_POINTS)
    ),
    "gAMA zero": lambda: png(encode(SAME, srgb), gamma(0), primaries(*SRGB_POINTS)),
    "cHRM zero": lambda: png(encode(SAME, srgb), primaries(*[0.0] * 8)),
    "cHRM of one colour": lambda: png(encode(SAME, srgb), primaries(*[0.3] * 8)),
    "cHRM without blue": lambda: png(encode(SAME, power(1)), gamma(1), primaries(*[0.5] * 8)),
    "Adobe RGB by EXIF": lambda: camera_jpeg(encode(ADOBE, power(563 / 256)), 0xFFFF, "R03"),
    "Adobe RGB by EXIF, WebP": lambda: camera_jpeg(
        encode(ADOBE, power(563 / 256)), 0xFFFF, "R03", "WEBP"
    ),
    "Adobe RGB by EXIF, 2": lambda: camera_jpeg(encode(ADOBE, power(563 / 256)), 2, "R98"),
    "sRGB by EXIF": lambda: camera_jpeg(encode(SAME, srgb), 1, "R98"),
    "uncalibrated by EXIF": lambda: camera_jpeg(encode(SAME, srgb), 0xFFFF, "R98"),
    "AVIF Display P3": lambda: avif(encode(P3, srgb), 12, 13),
    "AVIF BT.2020": lambda: avif(encode(BT2020, srgb), 9, 1),
    "AVIF unspecified": lambda: avif(encode(SAME, srgb), 2, 2),
    "AVIF of SD video": lambda: avif(encode(SAME, srgb), 6, 6),
    "HEIC Display P3": lambda: heic(encode(P3, srgb), 12, 13),
    "HEIC sRGB": lambda: heic(encode(SAME, srgb), 1, 13),
}
HDR = {
    "PQ, PNG": lambda: png(encode(BT2020, pq), cicp(9, 16)),
    "HLG, PNG": lambda: png(encode(BT2020, hlg), cicp(9, 18)),
    "PQ of P3, PNG": lambda: png(encode(P3, pq), cicp(12, 16)),
    "PQ, AVIF": lambda: avif(encode(BT2020, pq), 9, 16),
    "HLG, AVIF": lambda: avif(encode(BT2020, hlg), 9, 18),
    "PQ, AVIF with a profile": lambda: avif(
        encode(BT2020, pq),
        9,
        16,
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    ),
    "PQ, HEIC": lambda: heic(encode(BT2020, pq), 9, 16),
    "HLG, HEIC": lambda: heic(encode(BT2020, hlg), 9, 18),
}


@pytest.mark.parametrize("name", SDR)
def test_declared_colours_become_srgb(name: str):
    assert off(SDR[name]()) <= 6


@pytest.mark.parametrize("name", HDR)
def test_hdr_pictures_become_sdr_with_white_at_203_nits(name: str):
    assert off(HDR[name]()) <= 12  # 8 bits of AVIF alone are off by 10


def test_hdr_white_stays_white_and_highlights_keep_order_and_hue():
    nits = np.array([20, 100, 203, 400, 1000, 4000])
    for codes, curve in (((9, 16), pq), ((9, 18), hlg)):
        values = (curve(np.repeat(nits / 203, 3).reshape(1, -1, 3)).clip(0, 1) * 65535).round()
        colours = colours_of_codes(*codes)
        grey = values_to_srgb(values.astype(np.uint16), colours)[0].astype(int)
        assert np.ptp(grey, axis=1).max() <= 1
        assert np.abs(grey[:2, 0] - srgb(nits[:2] / 203) * 255).max() <= 1
        assert 243 <= grey[2, 0] < grey[3, 0] < grey[4, 0] <= grey[5, 0] <= 255
    orange = pq(np.array([[[4.0, 1.0, 0.25]]]) @ BT2020.T) * 65535
    red, green, blue = values_to_srgb(orange.astype(np.uint16), colours_of_codes(9, 16))[0, 0]
    assert red > 250
    assert srgb_light(np.array([green, blue])) == pytest.approx([0.25, 0.0625], abs=0.01)


def test_of_several_colours_in_an_avif_file_those_of_the_main_picture_count():
    """Gain maps have colours of their own, which may come first in the file."""
    written = bytearray(avif(encode(P3, srgb), 9, 16))
    own = struct.pack(">I4s4sHHHB", 19, b"colr", b"nclx", 12, 13, 6, 128)
    data = struct.pack(">I", written.index(b"mdat") + 4)
    where = written.index(data)
    written[where : where + 4] = struct.pack(">I", written.index(b"mdat") + 4 + len(own))
    properties = written.index(b"ipco") - 4
    end = properties + struct.unpack_from(">I", written, properties)[0]
    for name in (b"meta", b"iprp", b"ipco"):
        at = written.index(name) - 4
        struct.pack_into(">I", written, at, struct.unpack_from(">I", written, at)[0] + len(own))
    links = written.index(b"ipma") + 15
    colours = written.index(4, links)  # the fourth of four properties
    written[colours] = 5
    written[end:end] = own
    assert off(bytes(written)) <= 5


def test_damaged_boxes_and_profiles_are_no_reason_to_refuse_a_picture():
    written = avif(encode(SAME, srgb), 1, 13)
    for name in (b"pitm", b"iprp", b"ipco", b"ipma"):
        # Where Pillow reads such a file, so does fst.
        damaged = written.replace(name, b"free")
        try:
            Image.open(io.BytesIO(damaged)).load()
        except (OSError, RuntimeError):
            continue
        assert off(damaged) <= 5


def test_a_profile_that_carries_the_codes_of_hdr_is_understood():
    tag = b"cicp" + bytes((0, 0, 0, 0, 9, 16, 0, 1))
    profile = bytearray(160)
    struct.pack_into(">I4sII", profile, 128, 1, b"cicp", 148, len(tag))
    profile[148:] = tag
    compressed = b"HDR\0\0" + zlib.compress(bytes(profile))
    assert off(png(encode(BT2020, pq), (b"iCCP", compressed))) <= 8


def linear_grey_profile() -> bytes:
    """An ICC profile, version 2, of linear grey."""
    tags = {
        b"desc": b"desc\0\0\0\0\0\0\0\x05grey\0" + bytes(79),
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0\0\0\0\0",
        b"cprt": b"text\0\0\0\0none\0",
    }
    table, content = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        start = 128 + 4 + 12 * len(tags) + len(content)
        table += struct.pack(">4sII", name, start, len(value))
        content += value + bytes(-len(value) % 4)
    size = 128 + len(table) + len(content)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02200000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + content


@pytest.mark.parametrize("mode", ["L", "LA", "P", "PA"])
def test_a_grey_profile_counts_with_alpha_and_palette_too(mode: str, tmp_path: Path):
    light = np.array([[34, 128, 0, 255]], np.uint8).repeat(8, 0)
    grey = Image.fromarray(light)
    if mode == "PA":
        picture = grey.convert("P")
        picture.putpalette([value for grey in range(256) for value in (grey,) * 3])
        picture.info["transparency"] = 7
    elif mode == "LA":
        picture = grey.convert("LA")
    else:
        picture = grey.convert(mode)
    picture.save(tmp_path / "a.png", icc_profile=linear_grey_profile())
    read = np.asarray(open_rgb(tmp_path / "a.png"))[0]
    assert np.abs(read[:, 0] - srgb(np.array([34, 128, 0, 255]) / 255) * 255).max() <= 1
    assert (np.ptp(read, axis=1) == 0).all()


def test_a_profile_for_another_kind_of_picture_is_left_out(tmp_path: Path):
    Image.fromarray(encode(SAME, srgb)).save(tmp_path / "a.png", icc_profile=linear_grey_profile())
    assert off(tmp_path / "a.png") == 0


def test_an_rgb_profile_counts_for_a_grey_picture(tmp_path: Path):
    """As Pillow keeps it when it makes a photograph grey."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    curve = profile.index(b"para") + 8  # type and gamma of the red curve, which all share
    linear = bytearray(profile)
    linear[curve : curve + 8] = struct.pack(">HHi", 0, 0, 65536)
    Image.new("L", (8, 8), 34).save(tmp_path / "a.png", icc_profile=bytes(linear))
    assert np.asarray(open_rgb(tmp_path / "a.png"))[0, 0].tolist() == [102] * 3


def test_transparency_and_orientation_go_with_declared_colours():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    turned = Image.fromarray(encode(ADOBE, power(563 / 256))).transpose(Image.Transpose.ROTATE_90)
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    assert off(file.getvalue()) <= 5
    opaque = np.full((32, 64, 1), 255, np.uint8)
    opaque[:, 60:] = 0
    turned = Image.fromarray(np.concatenate([encode(ADOBE, power(563 / 256)), opaque], 2))
    exif[0x0112] = 1
    turned.save(file := io.BytesIO(), "PNG", exif=exif)
    assert off(file.getvalue()) <= 5
    assert np.asarray(open_rgb(file.getvalue()))[0, -1].tolist() == [255] * 3


def test_large_pictures_are_converted_in_strips_without_seams():
    ramp = np.linspace(0, 255, 70_000).astype(np.uint8)
    pixels = np.broadcast_to(ramp[:, None, None], (70_000, 3, 3)).copy()
    read = np.asarray(open_rgb(png(pixels, gamma(1))))
    wide = np.asarray(open_rgb(png(pixels.transpose(1, 0, 2).copy(), gamma(1))))
    assert np.abs(read - srgb(pixels / 255) * 255).max() <= 1
    assert np.array_equal(read.transpose(1, 0, 2), wide)


def test_ordinary_pictures_are_not_converted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fst.pictures.colour._light_of", None)
    assert off(png(encode(SAME, srgb))) == 0
    assert off(png(encode(SAME, srgb), (b"sRGB", b"\0"), gamma(0.45455))) == 0
    assert off(png(encode(SAME, srgb), cicp(1, 13))) == 0


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("Adobe RGB by EXIF", 6),
        ("gAMA linear", 6),
        ("cICP Display P3", 6),
        ("AVIF Display P3", 6),
        ("HEIC Display P3", 6),
        ("PQ, PNG", 12),
    ],
)
def test_pil_pictures_in_python_have_their_declared_colours(name: str, most: int, tmp_path: Path):
    (tmp_path / "a").write_bytes((SDR | HDR)[name]())
    with Image.open(tmp_path / "a") as picture:
        images = to_images(picture)
    pixels = images[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(pixels[8::16, 8::16] - PATCHES).max() <= most


def test_pil_pictures_keep_the_declarations_that_pillow_keeps(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(SDR["gAMA linear"]())
    with Image.open(path) as picture:
        copied = picture.crop((0, 0, 64, 32))
    path.unlink()
    pixels = to_images(copied)[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(pixels[8::16, 8::16] - PATCHES).max() <= 6


def test_commands_see_the_declared_colours(
    tmp_path: Path, fst_here: Callable[..., object], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "p3.png").write_bytes(SDR["cICP Display P3"]())
    fst_here("stylize", "starry_night", "p3.png", "-o", "out.png", "--strength", "0")
    assert off(tmp_path / "out.png") <= 5
