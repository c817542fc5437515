"""Measure how fast pictures are enlarged four times; prints a Markdown table.

    python scripts/measure/upscaling.py --size 640x480 --rounds 5

The networks have random weights, which change nothing in their speed. Rounds are interleaved, and
medians reported. `fast` and `wide` are ours (32 channels and 8 layers, 64 and 16), `johnson` is the
paper's; `tiled` is what `fst upscale` does, from bytes to bytes.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from fst.config import FastUpscalerConfig, JohnsonUpscalerConfig
from fst.measuring.machine import machine_line, seconds_of
from fst.models.model_file import describe
from fst.networks.upscaler import FastUpscaler, JohnsonUpscaler, Upscaler
from fst.pictures.image import enlarge_bicubic
from fst.report import table
from fst.upscaling.enlarger import Enlarger

FACTOR = 4


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="640x480", help="width and height of the small picture")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    networks: dict[str, Upscaler] = {
        "fast": FastUpscaler(FastUpscalerConfig(factor=FACTOR)),
        "wide": FastUpscaler(FastUpscalerConfig(factor=FACTOR, width=64, layers=16)),
        "johnson": JohnsonUpscaler(JohnsonUpscalerConfig(factor=FACTOR)),
    }
    image = torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)
    pixels = (image * 255).byte()
    cpu = torch.device("cpu")
    tiled = Enlarger(networks["fast"], describe(networks["fast"]), cpu, torch.float32)
    ways: dict[str, Callable[[], Tensor]] = {"bicubic": lambda: enlarge_bicubic(image, FACTOR)}
    for name, network in networks.items():
        network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        ways[name] = lambda network=network: network(image)  # type: ignore[misc]
    ways["fast, tiled"] = lambda: tiled(pixels)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with torch.no_grad():
        for number in range(given.rounds + 1):
            for name, run in ways.items():
                taken = seconds_of(cpu, run)
                if number:  # the first round warms up
                    seconds[name].append(taken)
    medians = {name: statistics.median(measured) for name, measured in seconds.items()}
    rows = [
        [name, f"{1000 * median:.0f}", f"{1 / median:.1f}", f"{medians['johnson'] / median:.1f}"]
        for name, median in medians.items()
    ]
    header = ["", f"ms for {given.size} x{FACTOR}", "per second", "times as fast as the paper's"]
    print(*table(header, rows), sep="\n")
    print(f"\n{machine_line(cpu)}")


if __name__ == "__main__":
    main()
