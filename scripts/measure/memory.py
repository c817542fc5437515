"""Memory of a process that stylizes for an hour, as a table and a curve.

python scripts/measure/memory.py starry_night --minutes 60 -o sizes.png
python scripts/measure/memory.py starry_night --minutes 60 -o clip.png --clip clip.mp4

The first calls a stylizer with pictures of ever changing sizes; the second stylizes one clip over
and over, decoding and encoding included. `resident` is what the process occupies; `in use` is what
the C library's allocator has given out to tensors and libraries, and `free` what it keeps for the
next request (Linux with glibc alone). Memory that is lost shows as `in use` that keeps rising; what
`malloc_trim` gives back at the end is not lost, but scattered between what is in use.
"""

import argparse
import ctypes
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import torch

import fst
from fst.stylizing.stylizer import Stylizer
from fst.video.video import stylize_video

Sample = dict[str, float]
"""Minutes since the start, calls so far, and MB of memory."""


class _MallocInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
            "fordblks", "keepcost",
        )
    ]  # fmt: skip


def memory_mb() -> Sample:
    """Return the memory of this process in MB, by kind."""
    kinds = {"resident": psutil.Process().memory_info().rss}
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = _MallocInfo
        info = mallinfo()
        kinds |= {"in use": info.uordblks + info.hblkhd, "free": info.fordblks}
    return {kind: size / 1e6 for kind, size in kinds.items()}


def measure(act: Callable[[], object], minutes: float, every_s: float) -> Iterator[Sample]:
    """Act again and again for this many minutes; yield the memory in between."""
    start = time.monotonic()
    calls, due = 0, 0.0
    while (passed := time.monotonic() - start) < 60 * minutes:
        act()
        calls += 1
        if passed >= due:
            due = passed + every_s
            yield {"minutes": passed / 60, "calls": calls, **memory_mb()}


def stylize_any_size(stylizer: Stylizer, chance: random.Random, longest: int) -> None:
    """Stylize one picture whose sides nobody foresees."""
    height, width = chance.randint(32, longest), chance.randint(32, longest)
    stylizer(torch.rand(1, 3, height, width))


def draw(samples: list[Sample], path: Path) -> None:
    """Draw the curves."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for kind in memory_mb():
        axes.plot([s["minutes"] for s in samples], [s[kind] for s in samples], label=kind)
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None))
    axes.set_title(f"{samples[-1]['calls']:,.0f} calls")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Measure, print the table and draw the curve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the curve, .png or .svg")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every-s", type=float, default=10, help="seconds between two samples")
    parser.add_argument("--longest", type=int, default=256, help="longest side in pixels")
    parser.add_argument("--clip", type=Path, help="stylize this video again and again instead")
    given = parser.parse_args()
    stylizer = fst.load(given.model, "cpu")
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        act: Callable[[], object]
        if given.clip:
            act = partial(stylize_video, stylizer, given.clip, Path(folder) / "out.mp4")
        else:
            act = partial(stylize_any_size, stylizer, random.Random(0), given.longest)
        for sample in measure(act, given.minutes, given.every_s):
            samples.append(sample)
            with given.output.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(sample) + "\n")
    print(" | ".join(samples[0]))
    for sample in samples[:: max(1, len(samples) // 12)] + samples[-1:]:
        print(" | ".join(f"{value:,.1f}" for value in sample.values()))
    draw(samples, given.output)
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
        print(f"resident after malloc_trim: {memory_mb()['resident']:,.1f} MB")


if __name__ == "__main__":
    main()
