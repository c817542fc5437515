"""Measure tiles against a single pass, and the memory used by large pictures.

python scripts/measure/tiles.py MODEL PHOTOGRAPH [--megapixels 25 100] [--difference OUT.png]

First a 2048x2048 picture in one pass and in tiles: PSNR, seconds, and the difference image times
1000. Then `fst stylize` on large pictures, each in a process of its own: peak memory.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

import fst
from fst.pictures.image import read_image, write_image
from fst.report import table
from fst.stylizing.stylizer import TILE_PX


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("photograph", type=Path)
    parser.add_argument("--megapixels", type=int, nargs="*", default=[25, 100])
    parser.add_argument("--difference", type=Path)
    given = parser.parse_args()
    against_the_whole(given.model, given.photograph, given.difference)
    header = ["picture", "megapixels", "seconds", "peak memory", "of it picture and result"]
    rows = [large(given.model, given.photograph, number) for number in given.megapixels]
    print("", *table(header, rows), sep="\n")


def against_the_whole(model: str, photograph: Path, difference: Path | None) -> None:
    """Print the PSNR of tiles against a single pass at 2048x2048, for several tile sizes."""
    stylize = fst.load(model, dtype="fp32")  # half precision rounds more than tiles differ
    image = torch.nn.functional.interpolate(
        read_image(photograph), (2048, 2048), mode="bicubic", antialias=True
    ).clamp(0, 1)
    started = time.perf_counter()
    whole = stylize(image, tile_px=0)
    whole_seconds = time.perf_counter() - started
    print(f"single pass: {whole_seconds:.1f} s\n")
    rows = []
    for tile_px in (256, 512, TILE_PX):
        started = time.perf_counter()
        tiled = stylize(image, tile_px=tile_px)
        ratio = (time.perf_counter() - started) / whole_seconds
        error = (tiled - whole).square().mean().item()
        psnr = f"{-10 * math.log10(error):.0f} dB" if error else "equal"
        rows.append([f"{tile_px}", psnr, f"{(tiled - whole).abs().max():.1e}", f"{ratio:.1f}"])
    print(*table(["tile_px", "PSNR", "largest difference", "times a single pass"], rows), sep="\n")
    if difference is not None:
        write_image((0.5 + 1000 * (tiled - whole)).clamp(0, 1), difference)


def large(model: str, photograph: Path, megapixels: int) -> list[str]:
    """Return time and peak memory of `fst stylize` on an enlarged photograph, as table cells."""
    with tempfile.TemporaryDirectory() as name, Image.open(photograph) as small:
        scale = math.sqrt(megapixels * 1e6 / (small.width * small.height))
        size = (round(small.width * scale), round(small.height * scale))
        source, result = Path(name) / "large.jpg", Path(name) / "result.jpg"
        small.convert("RGB").resize(size).save(source)
        command = [sys.executable, "-m", "fst", "stylize", model, str(source)]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "-o", str(result)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        assert status == 0
        with Image.open(result) as written:
            assert written.size == size
    own = 2 * 3 * size[0] * size[1] / 2**20
    peak = usage.ru_maxrss / 2**10
    picture = f"{size[0]}x{size[1]}"
    return [picture, f"{megapixels}", f"{seconds:.0f}", f"{peak:.0f} MiB", f"{own:.0f} MiB"]


if __name__ == "__main__":
    main()
