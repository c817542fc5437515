"""Damage videos at random, seeded; stylize each by a network that changes nothing; report.

python scripts/fuzz/fuzz_videos.py 300

Expected is a video that decodes to as many frames as were reported, or one `UserError`; anything
else is a bug, printed with the number that repeats it.
"""

import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from fuzzing import Tally, damage, from_command_line

from fst.video.video import stylize_video

WHOLES = (
    ("clip.mp4", "libx264", "aac"),
    ("clip.mov", "mpeg4", "pcm_s16le"),
    ("clip.mkv", "libx264", "libopus"),
    ("clip.webm", "libvpx-vp9", "libopus"),
    ("clip.avi", "libx264", "libmp3lame"),
    ("clip.avi", "mpeg4", "pcm_s16le"),
    ("clip.ts", "libx264", "aac"),
    ("clip.mpg", "mpeg2video", "mp2"),
    ("clip.flv", "flv", "aac"),
    ("clip.wmv", "wmv2", "wmav2"),
    ("clip.mkv", "ffv1", "flac"),
    ("clip.mp4", "libx265", "ac3"),
)
"""File, video codec and audio codec of the videos that are damaged."""
FIELDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 0x4000)
"""What a number of four bytes in a header may become."""
TAGS = (b"Caf\xe9 \x92", b"\x1b[31mred", b"\xed\xa0\x80abc", b"\xff\xfe\0\0abc", b"%s%n{}${}")


def whole(path: Path, codec: str, sound: str) -> bytes:
    """Write a clip of twelve frames with sound, a title and a chapter; return its content."""
    with av.open(str(path), "w") as container:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else None
        video = container.add_stream(codec, 25, quiet)
        assert isinstance(video, av.VideoStream)
        video.width, video.height = 64, 48
        audio = container.add_stream(sound, 48_000, bit_rate=96_000)
        assert isinstance(audio, av.AudioStream)
        container.metadata["title"] = "TITLE-TITLE"
        if path.suffix in (".mp4", ".mov", ".mkv", ".webm"):
            millisecond, title = Fraction(1, 1000), {"title": "TITLE-TITLE"}
            container.set_chapters(
                [{"id": 1, "start": 0, "end": 400, "time_base": millisecond, "metadata": title}]
            )
        samples = np.random.default_rng(0).integers(-9000, 9000, (1, 48_000), dtype=np.int16)
        tone = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
        tone.sample_rate, tone.pts = 48_000, 0
        for number in range(12):
            pixels = np.full((48, 64, 3), 20 * number, np.uint8)
            pixels[4 * number :, 10:30] = 200, 30, 20
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux([*video.encode(None), *audio.encode(tone), *audio.encode(None)])
    return path.read_bytes()


def odd_fields(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with some numbers of the first or last kilobyte changed."""
    result = bytearray(content)
    for _ in range(chance.choice((1, 2, 6))):
        near = chance.randrange(min(1500, len(result)))
        at = near if chance.random() < 0.5 else len(result) - near
        value = chance.choice(FIELDS)
        size = chance.choice((2, 4))
        order = chance.choice(("big", "little"))
        result[at : at + size] = (value % 256**size).to_bytes(size, order)
    return bytes(result)


def odd_tag(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with a title that is no UTF-8 or has control characters."""
    return content.replace(b"TITLE-TITLE", chance.choice(TAGS).ljust(11)[:11])


def splice(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return the head of one file and the tail of another."""
    return content[: chance.randrange(len(content))] + other[chance.randrange(len(other)) :]


def cases(seed: int, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of damaged videos without end."""
    wholes = [(name, whole(folder / name, codec, sound)) for name, codec, sound in WHOLES]
    for number in range(10**9):
        chance = random.Random(f"{seed}/{number}")
        name, content = chance.choice(wholes)
        kind = chance.choice(("bytes", "bytes", "fields", "fields", "tag", "splice", "suffix"))
        if kind == "bytes":
            content = damage(content, chance)
        elif kind == "fields":
            content = odd_fields(content, chance)
        elif kind == "tag":
            content = odd_tag(content, chance)
        elif kind == "splice":
            content = splice(content, chance.choice(wholes)[1], chance)
        else:
            name = chance.choice(wholes)[0]
            content = damage(content, chance) if chance.random() < 0.5 else content
        yield f"{number} {kind} {name}", content


def stylize(path: Path, target: Path) -> None:
    """Stylize a damaged video; the result must have the frames that are reported, in order."""
    report = stylize_video(lambda frame: frame, path, target)
    with av.open(str(target)) as container:
        times = [frame.pts or 0 for frame in container.decode(video=0)]
    assert len(times) == report.frames > 0, f"{report.frames} frames, {len(times)} in the file"
    assert times == sorted(times), "the frames are not in order"


def fuzz(count: int, seed: int = 0, first: int = 0) -> Tally:
    """Damage and stylize this many videos, from number `first` on."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wholes").mkdir()
        numbered = zip(range(first + count), cases(seed, folder / "wholes"), strict=False)
        for number, (label, content) in numbered:
            if number < first:
                continue
            results = folder / "results"
            results.mkdir()
            path = folder / label.split()[-1]
            path.write_bytes(content)
            target = results / f"out{('.mp4', '.mkv', '.webm')[number % 3]}"
            refused = tally.outcomes["refused"]
            tally.count(f"seed {seed}, video {label}", partial(stylize, path, target))
            if tally.outcomes["refused"] > refused:
                assert not list(results.iterdir()), f"video {label}: something is left"
            shutil.rmtree(results)
            path.unlink()
    return tally


if __name__ == "__main__":
    sys.exit(from_command_line(__doc__, fuzz, "video", "videos"))
