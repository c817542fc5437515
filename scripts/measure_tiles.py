"""Measure tiles against the whole picture, and the memory that large pictures take.

python scripts/measure_tiles.py MODEL PHOTOGRAPH [--megapixels 25 100] [--difference OUT.png]

First a 2048x2048 picture in one piece and in tiles: PSNR, seconds, and the difference image a
thousandfold. Then `fst stylize` on large pictures, each in a process of its own: peak memory.
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
    print("\n| picture | megapixels | seconds | peak memory | of it picture and result |")
    print("|---|---|---|---|---|")
    for megapixels in given.megapixels:
        large(given.model, given.photograph, megapixels)


def against_the_whole(model: str, photograph: Path, difference: Path | None) -> None:
    """Print the PSNR of tiles against the whole at 2048x2048, for several sizes of tiles."""
    stylize = fst.load(model, dtype="fp32")  # half precision rounds more than tiles differ
    image = torch.nn.functional.interpolate(
        read_image(photograph), (2048, 2048), mode="bicubic", antialias=True
    ).clamp(0, 1)
    started = time.perf_counter()
    whole = stylize(image, tile_px=0)
    whole_seconds = time.perf_counter() - started
    print(f"whole: {whole_seconds:.1f} s\n")
    print("| tile_px | PSNR | largest difference | time against the whole |\n|---|---|---|---|")
    for tile_px in (256, 512, TILE_PX):
        started = time.perf_counter()
        tiled = stylize(image, tile_px=tile_px)
        ratio = (time.perf_counter() - started) / whole_seconds
        error = (tiled - whole).square().mean().item()
        psnr = f"{-10 * math.log10(error):.0f} dB" if error else "equal"
        print(f"| {tile_px} | {psnr} | {(tiled - whole).abs().max():.1e} | {ratio:.1f} |")
    if difference is not None:
        write_image((0.5 + 1000 * (tiled - whole)).clamp(0, 1), difference)


def large(model: str, photograph: Path, megapixels: int) -> None:
    """Print time and peak memory of `fst stylize` on an enlarged photograph."""
    with tempfile.TemporaryDirectory() as name, Image.open(photograph) as small:
        scale = math.sqrt(megapixels * 1e6 / (small.width * small.height))
        size = (round(small.width * scale), round(small.height * scale))
        source, result = Path(name) / "large.jpg", Path(name) / "result.jpg"
        small.convert("RGB").resize(size).save(source)
        command = [sys.executable, "-m", "fst.cli", "stylize", model, str(source)]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "-o", str(result)], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        assert status == 0
        with Image.open(result) as written:
            assert written.size == size
    own = 2 * 3 * size[0] * size[1] / 2**20
    peak = usage.ru_maxrss / 2**10
    print(
        f"| {size[0]}x{size[1]} | {megapixels} | {seconds:.0f} | {peak:.0f} MiB | {own:.0f} MiB |"
    )


if __name__ == "__main__":
    main()
