"""Measure video stylizing: what is kept, how fast it is, how much it flickers; prints Markdown.

    python scripts/measure/video.py MODEL VIDEO... [--frames N] [--size PX] [--smooth 0.8]

- A probe of each video and of its result: size, frames, length, audio, rotation.
- Frames per second of the whole pipeline (wall time, including opening and closing files) and of
  the network alone on the same frames, decoded beforehand: alternating, medians of `--rounds`.
- Flicker over the static background: the temporal standard deviation of the input and of the
  results, all decoded from their files, and in brackets the root mean square of the change from
  frame to frame; means over pixels, in levels of 255. Pixels whose input deviates by less than
  `--static` levels are static.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import av
import numpy as np

import fst
from fst.measuring.stability import STATIC, Flicker
from fst.stylizing.stylizer import Stylizer
from fst.video.filters import TemporalSmoother
from fst.video.reader import Frame, VideoReader
from fst.video.video import stylize_video


def main() -> None:
    """Measure each video and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, help="use only the first N frames")
    parser.add_argument("--size", type=int, help="scale the shorter side to N pixels")
    parser.add_argument("--smooth", type=float, default=0.8)
    parser.add_argument("--static", type=float, default=STATIC)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--keep", type=Path, help="folder for the results; by default they are not kept"
    )
    options = parser.parse_args()
    stylizer = fst.load(options.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        probes = [
            "| file | size | frames | length | audio | rotation |",
            "|---|---|---|---|---|---|",
        ]
        speeds = ["| video | pipeline fps | network fps | ratio |", "|---|---|---|---|"]
        flickers = [
            f"| video | static | input | result | smooth={options.smooth} |",
            "|---|---|---|---|---|",
        ]
        for video in options.videos:
            name = video.stem
            source = video
            if options.frames:
                source = first_frames(video, Path(temporary) / video.name, options.frames)
            plain, smoothed = folder / f"{name}_plain.mp4", folder / f"{name}_smooth.mp4"
            pipeline, network = speed(stylizer, source, plain, options.size, options.rounds)
            speeds.append(f"| {name} | {pipeline:.2f} | {network:.2f} | {pipeline / network:.3f} |")
            report = stylize_video(
                stylizer,
                source,
                smoothed,
                size=options.size,
                workers=stylizer.workers,
                filters=lambda: [TemporalSmoother(options.smooth)],
            )
            probes += [f"| {name} | {probe(source)} |", f"| {name}, stylized | {probe(plain)} |"]
            probes += [f"| note | {note} |" for note in report.notes]
            measured = [flicker(source, options.size), flicker(plain), flicker(smoothed)]
            height, width = measured[0].shape[1:]
            static = measured[0][0] < options.static
            means = [maps[:, :height, :width][:, static].mean(-1) for maps in measured]
            columns = " | ".join(f"{over_all:.2f} ({step:.2f})" for over_all, step in means)
            flickers.append(f"| {name} | {static.mean():.0%} | {columns} |")
    print("\n\n".join("\n".join(table) for table in (probes, speeds, flickers)))


def frames_of(path: Path, size: int | None = None) -> Iterator[np.ndarray]:
    """Yield the upright frames, (H, W, 3) uint8."""
    with VideoReader(path, size) as reader:
        yield from (item.pixels for item in reader if isinstance(item, Frame))


def first_frames(source: Path, target: Path, count: int) -> Path:
    """Copy the packets of the first frames, and the audio until then."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        streams = [reading.streams.video[0], *reading.streams.audio]
        kept = {stream.index: writing.add_stream_from_template(stream) for stream in streams}
        seen = 0
        for packet in reading.demux(*streams):
            if packet.dts is None or seen == count:
                continue
            seen += packet.stream is streams[0]
            packet.stream = kept[packet.stream_index]
            writing.mux(packet)
    return target


def probe(path: Path) -> str:
    """Return the file's properties as cells of the table."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        sound = [
            f"{stream.codec_context.codec.canonical_name} "
            f"{float((stream.duration or 0) * (stream.time_base or 0)):.3f} s"
            for stream in container.streams.audio
        ]
        shown = list(container.decode(video))
        last = shown[-1]
        length = last.time - shown[0].time + last.duration * float(last.time_base or 0)
        return (
            f"{video.width}x{video.height} | {len(shown)} | {length:.3f} s | "
            f"{', '.join(sound) or 'none'} | {shown[0].rotation}"
        )


def speed(
    stylizer: Stylizer, source: Path, target: Path, size: int | None, rounds: int
) -> tuple[float, float]:
    """Return frames per second of the pipeline and of the network alone."""
    frames = list(frames_of(source, size))
    pipeline, network = [], []
    stylizer(frames[0])
    for _ in range(rounds):
        begun = perf_counter()
        for frame in frames:
            stylizer(frame)
        network.append(len(frames) / (perf_counter() - begun))
        report = stylize_video(stylizer, source, target, size=size, workers=stylizer.workers)
        pipeline.append(len(frames) / report.seconds)
    return median(pipeline), median(network)


def flicker(path: Path, size: int | None = None) -> np.ndarray:
    """Return `Flicker.maps` of a file."""
    collected = Flicker()
    for frame in frames_of(path, size):
        collected.add(frame)
    return collected.maps()


if __name__ == "__main__":
    main()
