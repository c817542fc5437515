"""Create more than forty unusual and broken pictures, stylize each, and print the results.

python scripts/fuzz/odd_pictures.py MODEL
"""

import argparse
import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

Maker = Callable[[Path], None]


def photograph(width: int = 96, height: int = 64) -> Image.Image:
    """Return a picture with smooth colours and an edge."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    pixels = np.stack([255 * x, 255 * y, 128 + 100 * np.sin(20 * x + 9 * y)], axis=-1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (200, 30, 60)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encode(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def save_to(picture: Image.Image, **options: Any) -> Maker:
    """Return a function that saves the picture to a path."""
    return lambda path: picture.save(path, **options)


def holding(content: bytes) -> Maker:
    """Return a function that writes these bytes."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def rotate(orientation: int) -> Maker:
    """Return a function that saves a picture with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save_to(photograph(), exif=exif)


def bomb() -> bytes:
    """Return a PNG of a few bytes that claims to have 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def files() -> dict[str, Maker]:
    """Return the function that creates each file, by name."""
    photo = photograph()
    alpha = photo.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
    jpeg, png = encode(photo, "JPEG"), encode(photo, "PNG")
    deep = np.linspace(0, 65535, 96 * 64).reshape(64, 96)
    frames = [photo.rotate(angle).convert("P") for angle in (0, 10, 20)]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    palette = alpha.convert("P")
    damaged = bytearray(jpeg)
    damaged[len(jpeg) // 2 : len(jpeg) // 2 + 40] = os.urandom(40)
    return {
        "plain.jpg": save_to(photo),
        "plain.png": save_to(photo),
        "plain.webp": save_to(photo),
        "plain.tif": save_to(photo),
        "plain.bmp": save_to(photo),
        "plain.gif": save_to(photo),
        "plain.ppm": save_to(photo),
        "capitals.JPG": holding(jpeg),
        "progressive.jpg": save_to(photo, progressive=True),
        "grey.jpg": save_to(photo.convert("L")),
        "cmyk.jpg": save_to(photo.convert("CMYK")),
        "cmyk.tif": save_to(photo.convert("CMYK")),
        "lab.tif": save_to(photo.convert("LAB")),
        "one_bit.png": save_to(photo.convert("1")),
        "grey_16_bit.png": save_to(Image.fromarray(deep.astype(np.uint16))),
        "grey_16_bit.tif": save_to(Image.fromarray(deep.astype(np.uint16))),
        "grey_32_bit_float.tif": save_to(Image.fromarray((deep / 65535).astype(np.float32))),
        "alpha.png": save_to(alpha),
        "alpha.webp": save_to(alpha),
        "alpha_grey.png": save_to(alpha.convert("LA")),
        "palette.png": save_to(photo.convert("P")),
        "palette_with_alpha.png": save_to(palette, transparency=0),
        "animated.gif": save_to(frames[0], save_all=True, append_images=frames[1:]),
        "animated.webp": save_to(photo, save_all=True, append_images=[photo.rotate(20)]),
        "animated.png": save_to(photo, save_all=True, append_images=[photo.rotate(20)]),
        "several_pages.tif": save_to(photo, save_all=True, append_images=[photo.rotate(20)]),
        "exif_rotated_3.jpg": rotate(3),
        "exif_rotated_6.jpg": rotate(6),
        "exif_rotated_8.png": rotate(8),
        "exif_broken.jpg": save_to(photo, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"),
        "profile_of_another_space.jpg": save_to(photo, icc_profile=profile),
        "profile_broken.png": save_to(photo, icc_profile=b"no profile"),
        "1x1.png": save_to(photograph(1, 1)),
        "1x5000.png": save_to(photograph(1, 5000)),
        "5000x1.jpg": save_to(photograph(5000, 1)),
        "3x2.jpg": save_to(photograph(3, 2)),
        "png_called_jpg.jpg": holding(png),
        "jpg_called_png.png": holding(jpeg),
        "name with spaces, ümläuts & 'quotes'.png": holding(png),
        "truncated_half.jpg": holding(jpeg[: len(jpeg) // 2]),
        "truncated_header.jpg": holding(jpeg[:20]),
        "truncated.png": holding(png[: len(png) // 2]),
        "truncated.webp": holding(encode(photo, "WEBP")[:200]),
        "damaged_inside.jpg": holding(bytes(damaged)),
        "trailing_rubbish.jpg": holding(jpeg + os.urandom(500)),
        "zero_bytes.png": holding(b""),
        "text.jpg": holding(b"this is not a picture\n"),
        "page.png": holding(b"<html><body>404</body></html>"),
        "svg.png": holding(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        "random_bytes.jpg": holding(os.urandom(5000)),
        "decompression_bomb.png": holding(bomb()),
        "a_folder.jpg": lambda path: path.mkdir(),
        "broken_link.jpg": lambda path: path.symlink_to("nowhere.jpg"),
        "link_to_itself.jpg": lambda path: path.symlink_to(path),
        "pipe.jpg": os.mkfifo,
        "missing.jpg": lambda path: None,
    }


def main() -> int:
    """Print the table; return 1 if there was a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    model = parser.parse_args().model.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "in", Path(name) / "out"
        folder.mkdir()
        for file, make in files().items():
            make(folder / file)
        command = [sys.executable, "-m", "fst", "stylize", str(model), "-o", str(out)]
        given = [str(folder / file) for file in files()]
        done = subprocess.run([*command, "--", *given], capture_output=True, text=True)
        said = (done.stdout + done.stderr).replace(f"{folder}/", "").replace(f"{out}/", "")
        print("| file | result |\n|---|---|")
        for file in files():
            print(f"| {file} | {outcome_of(file, said, out)} |")
    print(
        f"\n{said.count(' -> ')} stylized, {len(files())} files; exit status {done.returncode};",
        end=" ",
    )
    print("no traceback" if "Traceback" not in said else "A TRACEBACK")
    return int("Traceback" in said)


def outcome_of(file: str, said: str, out: Path) -> str:
    """Return the size and mode of the result, or the line that was printed."""
    if match := re.search(rf"^{re.escape(file)} -> (.*?)( \(.*\))?$", said, re.MULTILINE):
        with Image.open(out / match[1]) as result:
            return f"{match[1]}, {result.width}x{result.height} {result.mode}{match[2] or ''}"
    lines = [line for line in said.splitlines() if file in line]
    return " ".join(lines) or "NOTHING WAS PRINTED"


if __name__ == "__main__":
    sys.exit(main())
