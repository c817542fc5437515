"""Camera raw files, which hold a thumbnail that Pillow reads."""

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin

from fst.pictures.formats import is_picture
from fst.pictures.image import UnreadableImageError, open_rgb
from fst.pictures.raw import is_camera_raw


def raw_tiff(order: str, first: dict[int, int], sub: dict[int, int], chained: bool) -> bytes:
    """Return a TIFF of a thumbnail of 32x24 and a second picture: a SubIFD, or the next one."""
    pixels = bytes(32 * 24 * 3)
    start = 8 + len(pixels)
    thumbnail = {256: 32, 257: 24, 258: 8, 259: 1, 262: 2, 273: 8, 277: 3, 278: 24, 279: 2304}
    thumbnail |= first
    count = len(thumbnail) + (not chained)
    second_at = start + 2 + 12 * count + 4
    if not chained:
        thumbnail[330] = second_at

    def ifd(tags: dict[int, int], following: int) -> bytes:
        entries = b"".join(
            struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
        )
        count = struct.pack(order + "H", len(tags))
        return count + entries + struct.pack(order + "I", following)

    mark = b"II*\0" if order == "<" else b"MM\0*"
    second = ifd({256: 600, 257: 400, **sub}, 0)
    head = mark + struct.pack(order + "I", start)
    return head + pixels + ifd(thumbnail, second_at if chained else 0) + second


CFA = {262: 32803}
RAWS = {
    "a.dng": raw_tiff("<", {254: 1, 50706: 0x401}, CFA, chained=False),
    "linear.dng": raw_tiff("<", {254: 1, 50706: 0x401}, {262: 34892}, chained=False),
    "a.nef": raw_tiff(">", {254: 1}, CFA, chained=False),
    "renamed.tif": raw_tiff("<", {}, CFA, chained=False),
    "a.pef": raw_tiff(">", {}, CFA, chained=True),
    "a.arw": raw_tiff("<", {254: 1}, {}, chained=False),
    "unmarked.cr2": raw_tiff("<", {}, {}, chained=True),
    "a.cr2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(200),
    "a.cr3": b"\0\0\0\x18ftypcrx " + bytes(200),
    "a.raf": b"FUJIFILMCCD-RAW 0201" + bytes(200),
    "a.rw2": b"IIU\0\x18\0\0\0" + bytes(200),
    "a.orf": b"IIRO\x08\0\0\0" + bytes(200),
}


@pytest.mark.parametrize("name", RAWS)
def test_camera_raw_is_refused_in_one_line(name: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(RAWS[name])
    assert is_camera_raw(path)
    assert not is_picture(path)
    sources = [path] if name == "unmarked.cr2" else [path, RAWS[name]]
    for source in sources:
        with pytest.raises(UnreadableImageError, match=r"is a camera raw file: develop it first"):
            open_rgb(source)


@pytest.mark.parametrize("pages", [1, 3])
def test_ordinary_tiff_is_not_taken_for_raw(pages: int, tmp_path: Path):
    frames = [Image.new("RGB", (8, 8), "red")] * pages
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[271] = "NIKON CORPORATION"
    more = {"save_all": True, "append_images": frames[1:]} if pages > 1 else {}
    frames[0].save(tmp_path / "a.tif", tiffinfo=tags, **more)
    assert not is_camera_raw(tmp_path / "a.tif")
    assert open_rgb(tmp_path / "a.tif").size == (8, 8)


def test_damaged_and_circular_tiff_end(tmp_path: Path):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "TIFF")
    whole = buffer.getvalue()
    circular = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 330, 4, 1, 8, 8)
    many = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 330, 4, 2**32 - 1, 8, 8)
    for content in (circular, many, *(whole[:end] for end in range(len(whole)))):
        (tmp_path / "a.tif").write_bytes(content)
        assert not is_camera_raw(tmp_path / "a.tif")
    assert not is_camera_raw(tmp_path / "missing.dng")
    assert not is_camera_raw(tmp_path)
