"""PNG files with long texts and profiles."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fst.pictures.formats import count_pixels, is_picture
from fst.pictures.image import UnreadableImageError, open_rgb, read_picture, write_picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(picture: Image.Image, chunks: list[bytes], behind: bool = False) -> bytes:
    """Return a PNG with further chunks before or behind its pixels."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    whole = buffer.getvalue()
    at = whole.index(b"IEND") - 4 if behind else 33
    return whole[:at] + b"".join(chunks) + whole[at:]


@pytest.fixture
def photo() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


LONG = bytes(3_000_000)
TEXTS = {
    "zTXt": [chunk(b"zTXt", b"workflow\0\0" + zlib.compress(LONG))],
    "iTXt": [chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(LONG))],
    "tEXt": [chunk(b"tEXt", b"a\0" + bytes(34_000_000))] * 2,
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("kind", TEXTS)
def test_pictures_with_long_texts_are_read_and_say_so(
    kind: str, behind: bool, photo: Image.Image, tmp_path: Path
):
    (tmp_path / "a.png").write_bytes(with_chunks(photo, TEXTS[kind], behind))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb[0].permute(1, 2, 0), np.array(photo))
    assert picture.notes == ("its text is too long and was not read",)
    assert is_picture(tmp_path / "a.png")
    assert count_pixels(tmp_path / "a.png") == 240
    assert np.array_equal(np.array(open_rgb((tmp_path / "a.png").read_bytes())), np.array(photo))


def test_metadata_beside_a_long_text_are_kept(photo: Image.Image, tmp_path: Path):
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a hill", 6
    chunks = [*TEXTS["zTXt"], chunk(b"eXIf", exif.tobytes()[6:])]
    (tmp_path / "a.png").write_bytes(with_chunks(photo, chunks))
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(picture.rgb[0].permute(1, 2, 0), np.rot90(np.array(photo), -1))
    write_picture(picture, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as written:
        assert written.getexif()[0x010E] == "a hill"


def test_a_long_profile_is_applied_up_to_a_limit(photo: Image.Image, tmp_path: Path):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.find(b"rXYZ"), profile.find(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    for length, note in [(2_000_000, ()), (17_000_000, ("its colour profile is too long",))]:
        padded = struct.pack(">I", length) + bytes(profile[4:]) + bytes(length - len(profile))
        encoded = chunk(b"iCCP", b"display\0\0" + zlib.compress(padded))
        (tmp_path / "a.png").write_bytes(with_chunks(photo, [encoded]))
        picture = read_picture(tmp_path / "a.png")
        assert [text[: len(begin)] for text, begin in zip(picture.notes, note, strict=True)] == [
            *note
        ]
        shown = picture.rgb[0].permute(1, 2, 0).numpy().astype(int)
        expected = np.array(photo) if note else np.array(photo)[..., ::-1]
        assert np.abs(shown - expected).max() <= 2, length


def test_damage_beside_a_long_text_is_still_reported(photo: Image.Image, tmp_path: Path):
    whole = with_chunks(photo, TEXTS["zTXt"])
    (tmp_path / "a.png").write_bytes(whole[: whole.index(b"IDAT") + 40])
    with pytest.raises(UnreadableImageError, match="cannot decode"):
        read_picture(tmp_path / "a.png")
