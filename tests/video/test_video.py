"""Video: times, audio, rotation, sizes and colours are kept; damage and errors are reported."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fst.errors import one_line_errors
from fst.stylizing.stylizer import Stylizer
from fst.video.filters import SceneFilters, TemporalSmoother
from fst.video.formats import is_video
from fst.video.reader import Frame, VideoReader
from fst.video.video import stylize_video
from fst.video.writer import VideoWriter

av = pytest.importorskip("av")
WIDTH, HEIGHT, FRAMES = 64, 48, 30
TICK = Fraction(1, 600)


def same(frame: np.ndarray) -> np.ndarray:
    return frame


def invert(frame: np.ndarray) -> np.ndarray:
    return 255 - frame


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Red at the top left, green at the top right, blue below; brighter from frame to frame."""
    pixels = np.full((height, width, 3), 40 + 3 * number, np.uint8)
    pixels[: height // 2, : width // 2] = 200, 30, 20
    pixels[: height // 2, width // 2 :] = 20, 190, 40
    pixels[-height // 4 :] = 30, 40, 210
    return pixels


def make_clip(
    path: Path,
    ticks: list[int] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    sound: str | None = None,
    degrees: int = 0,
    last: int = 20,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    **tags,
) -> Path:
    """Write a clip whose frames are shown at the ticks (of 1/600 s), with a sine as its audio.

    The last one is shown for `last` ticks.
    """
    ticks = ticks or [20 * i for i in range(FRAMES)]
    exact = {"movie_timescale": "600"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", container_options=exact) as container:
        video = container.add_stream(codec, 30, options or {"bf": "2"}, time_base=TICK)
        video.width, video.height = size
        video.codec_context.flags |= av.codec.context.Flags.frame_duration.value
        for name, value in tags.items():
            setattr(video.codec_context, name, value)
        if codec == "libx264" and size[0] % 2:
            video.pix_fmt = "yuv444p"
        if degrees:
            video.set_display_rotation(degrees)
        if sound:
            audio = container.add_stream(sound, 48_000)
            audio.codec_context.layout = "mono"
            wave = (8000 * np.sin(np.arange(48_000) * 0.05)).astype(np.int16)[None]
            for start in range(0, 48_000, 1000):
                samples = av.AudioFrame.from_ndarray(wave[:, start : start + 1000], "s16", "mono")
                samples.sample_rate, samples.pts = 48_000, start
                container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
        for number, tick in enumerate(ticks):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24").reformat(
                format=video.pix_fmt, dst_colorspace=5 if tags.get("colorspace", 5) == 5 else 1
            )
            frame.pts, frame.time_base = tick, TICK
            frame.duration = last if tick == ticks[-1] else 20
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def sounds(path: Path) -> list[list[tuple[Fraction, bytes]]]:
    with av.open(str(path)) as container:
        return [
            [
                (packet.pts * packet.time_base, bytes(packet))
                for packet in av.open(str(path)).demux(audio=number)
                if packet.size
            ]
            for number in range(len(container.streams.audio))
        ]


def pixels(path: Path) -> np.ndarray:
    """All frames as they are shown, (N, H, W, 3)."""
    with VideoReader(path) as reader:
        return np.stack([item.pixels for item in reader if isinstance(item, Frame)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", sound="aac")


def test_frames_times_and_audio_are_kept(clip: Path, tmp_path: Path):
    reported = []
    report = stylize_video(
        invert, clip, tmp_path / "out.mp4", progress=lambda *done: reported.append(done)
    )
    assert times(tmp_path / "out.mp4") == times(clip) == [i * 20 * TICK for i in range(FRAMES)]
    assert sounds(tmp_path / "out.mp4") == sounds(clip)
    assert len(sounds(clip)[0]) > 40
    with av.open(str(clip)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert before.duration == after.duration
        assert before.streams.video[0].average_rate == after.streams.video[0].average_rate
        assert after.streams.video[0].codec_context.name == "h264"
    assert (report.frames, report.width, report.height, report.notes) == (30, WIDTH, HEIGHT, ())
    assert report.fps == 30
    assert reported == [(i + 1, FRAMES) for i in range(FRAMES)]
    error = np.abs(255 - pixels(clip).astype(int) - pixels(tmp_path / "out.mp4"))
    assert error.mean() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_variable_frame_rate_and_a_late_start_are_kept(tmp_path: Path, suffix: str):
    steps = np.random.default_rng(0).integers(3, 90, FRAMES)
    clip = make_clip(tmp_path / "clip.mp4", [300 + int(tick) for tick in np.cumsum(steps)])
    stylize_video(same, clip, tmp_path / f"out{suffix}")
    before, after = times(clip), times(tmp_path / f"out{suffix}")
    assert before[0] == (300 + int(steps[0])) * TICK
    tolerance = Fraction(1, 2000) if suffix == ".mkv" else 0  # Matroska counts milliseconds
    assert len(before) == len(after)
    assert all(abs(x - y) <= tolerance for x, y in zip(before, after, strict=True))


def test_the_last_frame_is_shown_as_long_as_before(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", last=150)
    stylize_video(same, clip, tmp_path / "out.mp4")
    for path in (clip, tmp_path / "out.mp4"):
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            assert video.duration * video.time_base == (20 * (FRAMES - 1) + 150) * TICK


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_variable_rate_video_is_as_long_as_before(tmp_path: Path, suffix: str):
    """With B-frames the last frame decoded is not the last shown; the source has none."""
    ticks = [0, 20, 90, 95, 140, 160, 230, 234, 300]
    clip = make_clip(tmp_path / "clip.mp4", ticks, last=150, options={"bf": "0"})
    stylize_video(same, clip, tmp_path / f"out{suffix}")
    with av.open(str(clip)) as before, av.open(str(tmp_path / f"out{suffix}")) as after:
        assert before.duration == 450 * TICK * av.time_base
        assert after.duration == pytest.approx(before.duration, abs=1000)


def test_a_broadcast_stream_starts_at_zero(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.ts", [36_000 + 20 * i for i in range(FRAMES)])
    stylize_video(same, clip, tmp_path / "out.mp4")
    before, after = times(clip), times(tmp_path / "out.mp4")
    assert before[0] >= 60
    assert [time - after[0] for time in after] == [time - before[0] for time in before]
    assert after[0] == 0


@pytest.mark.parametrize("degrees", [90, -90, 180])
def test_a_rotated_video_comes_out_upright(tmp_path: Path, degrees: int):
    clip = make_clip(tmp_path / "clip.mp4", degrees=degrees)
    stylize_video(same, clip, tmp_path / "out.mp4")
    expected = np.rot90(picture(0), degrees // 90)
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        shown = frame.to_ndarray(format="rgb24").astype(int)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < 8


def test_odd_sides_grow_by_a_repeated_pixel_where_the_codec_needs_it(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", size=(63, 47))
    report = stylize_video(same, clip, tmp_path / "out.mp4")
    assert (report.width, report.height) == (64, 48)
    before, after = pixels(clip).astype(int), pixels(tmp_path / "out.mp4").astype(int)
    assert np.median(np.abs(after[:, :47, :63] - before)) <= 2  # chroma is halved at edges
    assert np.abs(after[:, 47] - after[:, 46]).mean() < 4
    assert stylize_video(same, clip, tmp_path / "out.webm").width == 63
    assert np.median(np.abs(pixels(tmp_path / "out.webm").astype(int) - before)) <= 3


def test_non_square_pixels_become_square(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", sample_aspect_ratio=Fraction(4, 3))
    stylize_video(same, clip, tmp_path / "out.webm")
    shown = pixels(tmp_path / "out.webm")[0].astype(int)
    assert shown.shape == (48, 85, 3)
    assert np.median(np.abs(shown - picture(0, 85))) <= 3


def test_size_scales_the_shorter_side_to_even_numbers(clip: Path, tmp_path: Path):
    report = stylize_video(same, clip, tmp_path / "out.mp4", size=23)
    assert (report.width, report.height) == (30, 24)
    assert pixels(tmp_path / "out.mp4").shape[1:3] == (report.height, report.width)


@pytest.mark.parametrize(
    ("sound", "source", "target", "converted"),
    [
        ("aac", "clip.mp4", "out.webm", "opus"),
        ("libopus", "clip.mkv", "out.webm", None),
        ("flac", "clip.mkv", "out.mov", "aac"),  # known to the container, refused at its header
        ("pcm_s16le", "clip.mkv", "out.mkv", None),
        ("aac", "clip.ts", "out.mp4", None),
    ],
)
def test_audio_is_copied_or_else_converted(
    tmp_path: Path, sound: str, source: str, target: str, converted: str | None
):
    clip = make_clip(tmp_path / source, sound=sound)
    report = stylize_video(same, clip, tmp_path / target)
    assert [converted in note for note in report.notes] == ([True] if converted else [])
    with av.open(str(tmp_path / target)) as container:
        seconds = sum(frame.samples for frame in container.decode(audio=0)) / 48_000
    assert seconds == pytest.approx(1, abs=0.05)
    assert len(times(tmp_path / target)) == FRAMES


def test_every_audio_track_is_kept(clip: Path, tmp_path: Path):
    with av.open(str(clip)) as reading, av.open(str(tmp_path / "two.mp4"), "w") as writing:
        video = writing.add_stream_from_template(reading.streams.video[0])
        tracks = [writing.add_stream_from_template(reading.streams.audio[0]) for _ in range(2)]
        for stream in (video, *tracks):
            with av.open(str(clip)) as again:
                kind = 0 if stream is video else 1
                for packet in again.demux(again.streams[kind]):
                    if packet.dts is not None:
                        packet.stream = stream
                        writing.mux(packet)
    stylize_video(same, tmp_path / "two.mp4", tmp_path / "out.mp4")
    assert sounds(tmp_path / "out.mp4") == sounds(clip) * 2


def with_extras(path: Path, codec: str, clip: Path) -> Path:
    """Add subtitles, chapters and tags to a clip with sound."""
    second = Fraction(1, 1000)
    with av.open(str(clip)) as reading, av.open(str(path), "w") as writing:
        streams = {s.index: writing.add_stream_from_template(s) for s in reading.streams}
        audio = streams[reading.streams.audio[0].index]
        audio.metadata["language"] = "deu"
        texts = writing.add_mux_stream(codec)
        texts.time_base = second
        texts.metadata.update({"language": "fra", "title": "Paroles"})
        texts.disposition = av.stream.Disposition.forced
        writing.metadata.update({"title": "A walk", "artist": "Ann", "mood": "calm"})
        chapters = [(0, 400, "Out"), (400, 1000, "Home")]
        writing.set_chapters(
            [
                {"id": start, "start": start, "end": end, "time_base": second, "metadata": title}
                for start, end, title in ((s, e, {"title": t}) for s, e, t in chapters)
            ]
        )
        packets = [packet for packet in reading.demux(*reading.streams) if packet.dts is not None]
        for packet in packets:
            packet.stream = streams[packet.stream_index]
            writing.mux(packet)
        for start, text in ((100, b"Bonjour"), (500, b"Salut")):
            size = len(text).to_bytes(2, "big") if codec == "mov_text" else b""
            packet = av.Packet(size + text)
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = 300, second, texts
            writing.mux(packet)
    return path


def extras_of(path: Path) -> tuple[list, list, dict]:
    """Subtitles that are not empty with their times, chapters with theirs, tags."""
    with av.open(str(path)) as container:
        chapters = [
            (c["metadata"]["title"], c["start"] * c["time_base"], c["end"] * c["time_base"])
            for c in container.chapters()
        ]
        tags = {key.lower(): value for key, value in container.metadata.items()}
        subtitles = [
            (bytes(packet), packet.pts * packet.time_base, packet.duration * packet.time_base)
            for packet in container.demux()
            if packet.stream.type == "subtitle" and packet.size > 2
        ]
    return subtitles, chapters, tags


@pytest.mark.parametrize(
    ("codec", "source", "target", "notes"),
    [
        ("subrip", "clip.mkv", "out.mkv", []),
        ("mov_text", "clip.mp4", "out.mp4", []),
        ("mov_text", "clip.mp4", "out.mov", []),
        (
            "subrip",
            "clip.mkv",
            "out.mp4",
            [
                "subtitle stream 2 dropped: mp4 cannot hold subrip",
                "metadata dropped: .mp4 has no mood",
            ],
        ),
    ],
)
def test_subtitles_chapters_and_metadata_are_kept(
    clip: Path, tmp_path: Path, codec: str, source: str, target: str, notes: list[str]
):
    movie = with_extras(tmp_path / source, codec, clip)
    report = stylize_video(same, movie, tmp_path / target)
    assert list(report.notes) == notes
    subtitles, chapters, tags = extras_of(tmp_path / target)
    expected = extras_of(movie)
    assert len(expected[0]) == 2
    assert subtitles == ([] if notes else expected[0])
    assert chapters == expected[1] == [("Out", 0, Fraction(2, 5)), ("Home", Fraction(2, 5), 1)]
    assert (tags["title"], tags["artist"]) == ("A walk", "Ann")
    assert tags.get("mood") == ("calm" if target == "out.mkv" else None)
    if target != "out.mov":  # which has other codes of languages, and no forced subtitles
        with av.open(str(tmp_path / target)) as container:
            assert container.streams.audio[0].metadata["language"] == "deu"
            for stream in container.streams.subtitles:
                assert stream.metadata["language"] == "fra"
                assert stream.disposition & av.stream.Disposition.forced
    assert times(tmp_path / target) == pytest.approx(times(movie), abs=1e-3)


def test_several_workers_keep_the_order_of_frames(clip: Path, tmp_path: Path):
    busy, most = set(), []
    threads = torch.get_num_threads()

    def uneven(frame: np.ndarray) -> np.ndarray:
        busy.add(threading.get_ident())
        most.append(len(busy))
        time.sleep(0.01 * (len(most) % 3))
        busy.discard(threading.get_ident())
        return 255 - frame

    stylize_video(uneven, clip, tmp_path / "out.mp4", workers=2)
    assert max(most) == 2
    assert torch.get_num_threads() == threads
    error = np.abs(255 - pixels(clip).astype(int) - pixels(tmp_path / "out.mp4"))
    assert error.mean((1, 2, 3)).max() < 3


def test_audio_packets_out_of_order_are_dropped(clip: Path, tmp_path: Path):
    with (
        VideoReader(clip) as reader,
        VideoWriter(tmp_path / "out.mp4", WIDTH, HEIGHT, 30, extras=reader.extras) as writer,
    ):
        for item in reader:
            if isinstance(item, Frame):
                writer.write(item.pixels, item.time, item.duration)
                continue
            again = av.Packet(bytes(item))
            again.pts, again.dts, again.time_base = item.pts, item.dts, item.time_base
            again.stream = item.stream
            writer.write_packet(item)
            writer.write_packet(again)
    assert sounds(tmp_path / "out.mp4") == sounds(clip)


@pytest.mark.parametrize(
    ("size", "tags", "matrix"),
    [
        ((WIDTH, HEIGHT), {}, 6),  # untagged SD is BT.601
        ((WIDTH, HEIGHT), {"colorspace": 1, "color_range": 1}, 1),
        ((WIDTH, HEIGHT), {"colorspace": 5, "color_range": 1}, 5),
        ((1280, 64), {"colorspace": 2}, 1),  # untagged HD is BT.709
    ],
)
def test_colours_survive_a_round_trip(
    tmp_path: Path, size: tuple[int, int], tags: dict[str, int], matrix: int
):
    clip = make_clip(tmp_path / "clip.mp4", list(range(0, 100, 20)), size=size, **tags)
    stylize_video(same, clip, tmp_path / "out.mp4")
    for path in (clip, tmp_path / "out.mp4"):
        shown = pixels(path)[0].astype(int)
        middle = shown[size[1] // 4, size[0] // 4], shown[size[1] // 4, -size[0] // 4]
        assert np.abs(middle - np.array([(200, 30, 20), (20, 190, 40)])).max() <= 5
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 1)
        assert 2 not in (context.color_primaries, context.color_trc)


def damage(clip: Path, path: Path, change: Callable[[bytearray], bytearray]) -> Path:
    path.write_bytes(change(bytearray(clip.read_bytes())))
    return path


def test_a_truncated_video_is_decoded_as_far_as_possible(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mkv", sound="aac")
    broken = damage(clip, tmp_path / "broken.mkv", lambda data: data[: len(data) * 2 // 3])
    report = stylize_video(same, broken, tmp_path / "out.mp4")
    assert 0 < report.frames < FRAMES
    assert len(times(tmp_path / "out.mp4")) == report.frames
    assert any(f"its end, after {report.frames} frames" in note for note in report.notes)


def test_damage_in_the_middle_is_reported_and_the_rest_kept(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4", [20 * i for i in range(60)], options={"g": "10"})

    def scramble(data: bytearray) -> bytearray:
        start, end = data.index(b"mdat") + 2000, data.index(b"moov")
        end = min(end, start + (end - start) // 3)
        data[start:end] = np.random.default_rng(1).bytes(end - start)
        return data

    broken = damage(clip, tmp_path / "broken.mp4", scramble)
    report = stylize_video(same, broken, tmp_path / "out.mp4")
    assert 20 < report.frames <= 60
    assert len(times(tmp_path / "out.mp4")) == report.frames
    assert any("damaged" in note for note in report.notes)


def not_a_video(kind: str, folder: Path) -> Path:
    path = folder / "bad.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no video\n" * 100)
    elif kind == "picture":
        Image.fromarray(picture(0)).save(path, "png")
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            audio = container.add_stream("aac", 48_000)
            samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp")
            samples.sample_rate = 48_000
            container.mux([*audio.encode(samples), *audio.encode(None)])
    elif kind == "no index":
        whole = make_clip(folder / "whole.mp4").read_bytes()
        path.write_bytes(whole[: whole.index(b"moov")])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "picture", "sound", "no index", "folder"])
def test_invalid_video_is_reported_in_one_line(tmp_path: Path, kind: str):
    path = not_a_video(kind, tmp_path)
    with pytest.raises(ValueError, match="bad.mp4") as caught:
        stylize_video(same, path, tmp_path / "out.mp4")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*out*"))


def test_invalid_options_are_reported_before_any_work(clip: Path, tmp_path: Path):
    def forbidden(frame: np.ndarray) -> np.ndarray:
        raise AssertionError("stylized")

    for target, options, message in [
        (tmp_path / "out.gif", {}, "out.gif.*one of .mp4"),
        (tmp_path / "out", {}, "no suffix"),
        (clip.parent / ".." / clip.parent.name / clip.name, {}, "overwrite"),
        (tmp_path / "out.mp4", {"size": 0}, "size=0"),
    ]:
        with pytest.raises(ValueError, match=message):
            stylize_video(forbidden, clip, target, **options)
    with pytest.raises(FileNotFoundError, match="gone.mp4"):
        stylize_video(forbidden, tmp_path / "gone.mp4", tmp_path / "out.mp4")
    with pytest.raises(ValueError, match=r"smooth=1\.0"):
        TemporalSmoother(1.0)
    assert not list(tmp_path.iterdir())


def test_the_missing_extra_is_named(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install 'fst-style-transfer\[video\]'"):
        stylize_video(same, clip, tmp_path / "out.mp4")


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 12])
def test_a_network_that_fails_leaves_nothing(
    clip: Path, tmp_path: Path, error: BaseException, after: int
):
    done = []

    def failing(frame: np.ndarray) -> np.ndarray:
        if len(done) == after:
            raise error
        done.append(1)
        return frame

    (tmp_path / "out.mp4").write_text("the old one")
    with pytest.raises(type(error)):
        stylize_video(failing, clip, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_text() == "the old one"


@pytest.mark.parametrize("existing", [False, True])
def test_ctrl_c_reports_what_was_kept(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], existing: bool
):
    frames = iter(range(FRAMES))

    def interrupt(frame: np.ndarray) -> np.ndarray:
        if next(frames) == 12:
            raise KeyboardInterrupt
        return frame

    target = tmp_path / "out.mp4"
    if existing:
        target.write_text("the old one")
    with pytest.raises(SystemExit) as ended, one_line_errors("fst", ""):
        stylize_video(interrupt, clip, target)
    assert ended.value.code == 130
    kept = "is unchanged" if existing else "was not written"
    expected = (
        f"fst: interrupted after 12 frames of {clip}: {target} {kept}; a video cannot be resumed "
        "and starts again from its first frame\n"
    )
    assert capsys.readouterr().err == expected


def test_the_command_says_what_ctrl_c_kept(clip: Path, tmp_path: Path, fst_here, monkeypatch):
    frames = iter(range(FRAMES))
    whole = Stylizer.render

    def interrupt(self: Stylizer, *given, **named):
        if next(frames) == 5:
            raise KeyboardInterrupt
        return whole(self, *given, **named)

    monkeypatch.setattr(Stylizer, "render", interrupt)
    done = fst_here("stylize", "starry_night", clip, "-o", "out.mp4")
    assert done.returncode == 130
    assert re.search(r"interrupted after \d frames of .*: out.mp4 was not written", done.stderr)
    assert "1 not done (run the same command again to resume)" in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", [(VideoReader, "_convert"), (VideoWriter, "write")])
def test_a_thread_that_fails_stops_all(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: tuple[type, str]
):
    original, calls = getattr(*stage), []

    def failing(*arguments):
        calls.append(1)
        if len(calls) == 12:
            raise OSError("no space left")
        return original(*arguments)

    monkeypatch.setattr(*stage, failing)
    with pytest.raises(OSError, match="no space left"):
        stylize_video(same, clip, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_the_writer_takes_times_in_seconds(tmp_path: Path):
    with VideoWriter(tmp_path / "camera.mp4", 65, 48, Fraction(24)) as writer:
        for second in (0.0, 0.04, 0.5):
            writer.write(picture(0, 65), second)
        with pytest.raises(ValueError, match="shape"):
            writer.write(picture(0, 64), 0.6)
    assert [float(time) for time in times(tmp_path / "camera.mp4")] == pytest.approx([0, 0.04, 0.5])


def test_videos_are_recognised_by_suffix():
    assert is_video(Path("a/B.MP4"))
    assert is_video(Path("b.webm"))
    assert not is_video(Path("c.png"))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_killed_recording_can_be_played(tmp_path: Path, suffix: str):
    path = tmp_path / f"camera{suffix}"
    code = """
import os, signal, sys
from pathlib import Path
import numpy as np
from fst.video.writer import VideoWriter
writer = VideoWriter(Path(sys.argv[1]), 64, 48, 24, survives_kill=True)
random = np.random.default_rng(0)
for number in range(144):
    writer.write(random.integers(0, 255, (48, 64, 3), dtype=np.uint8), number / 24)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert len(times(path)) > 48  # of 144; the encoder's threads and the last second are lost


def test_a_complete_recording_is_an_ordinary_file(tmp_path: Path):
    path = tmp_path / "camera.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, 24, survives_kill=True) as writer:
        for number in range(FRAMES):
            writer.write(picture(number), number / 24)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == FRAMES
        assert container.duration == pytest.approx(FRAMES / 24 * av.time_base, rel=1e-3)


def noisy_clip(frames: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A static input with sensor noise, and results whose strokes amplify it."""
    random = np.random.default_rng(0)
    content = 100 + random.normal(0, 3, (frames, 72, 96, 3))
    result = 120 + random.normal(0, 12, (frames, 72, 96, 3))
    return content.clip(0, 255).astype(np.uint8), result.clip(0, 255).astype(np.uint8)


def smooth(content: np.ndarray, result: np.ndarray, smooth: float) -> np.ndarray:
    smoother = TemporalSmoother(smooth)
    return np.stack([smoother(*pair) for pair in zip(content, result, strict=True)])


def test_smoothing_lowers_the_deviation_in_static_places():
    content, result = noisy_clip()
    before, after = (part[10:].std(0).mean() for part in (result, smooth(content, result, 0.8)))
    expected = ((1 - 0.8) / (1 + 0.8)) ** 0.5
    assert after / before == pytest.approx(expected, rel=0.15)
    assert np.array_equal(smooth(content, result, 0), result)


@pytest.fixture(params=["following motion", "without OpenCV"])
def with_and_without_motion(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    if request.param == "without OpenCV":
        monkeypatch.setitem(sys.modules, "cv2", None)
    else:
        pytest.importorskip("cv2")


@pytest.mark.usefixtures("with_and_without_motion")
@pytest.mark.parametrize(("speed", "contrast"), [(1, 60), (3, 60), (3, 20), (15, 60)])
def test_smoothing_leaves_no_ghosts_of_moving_objects(speed: int, contrast: int):
    content, result = (np.full((20, 72, 336, 3), level, np.uint8) for level in (100, 120))
    for number in range(20):
        left = number * speed
        content[number, 20:44, left : left + 24] += contrast
        result[number, 20:44, left : left + 24] += 90
    errors = np.abs(smooth(content, result, 0.9).astype(float) - result)
    for number, error in enumerate(errors):
        left = number * speed
        for edge in (left, left + 24):  # warping by fractions of a pixel blurs these
            error[19:45, max(0, edge - 1) : edge + 1] = 0
        assert error.max() < 90 / 8


def test_smoothing_follows_motion(monkeypatch: pytest.MonkeyPatch):
    """A camera that pans by 3 px per frame over a scene whose strokes flicker."""
    pytest.importorskip("cv2")
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(60, 190, (16, 64, 3), dtype=np.uint8))
    wide = np.asarray(coarse.resize((512, 128), Image.Resampling.BICUBIC))
    content = np.stack([wide[:, 3 * number : 3 * number + 256] for number in range(30)])
    result = (content + random.normal(0, 12, content.shape)).clip(0, 255).astype(np.uint8)

    def deviation() -> float:
        error = smooth(content, result, 0.8).astype(float) - content
        return float(error[10:, 16:-16, 16:-16].std())

    following = deviation()
    monkeypatch.setitem(sys.modules, "cv2", None)
    resting = deviation()
    assert following < 0.65 * resting


def test_slow_drift_is_followed():
    content = np.stack([np.full((72, 96, 3), 60 + number, np.uint8) for number in range(100)])
    lag = content.astype(float) - smooth(content, content, 0.9)
    assert lag.max() < 4  # compared with the frame before, it would be 7


def test_a_cut_resets_the_smoother_even_where_both_sides_look_the_same():
    content, result = noisy_clip(4)
    content[2:, :, 24:] += 80
    result[2:] -= 60
    scenes = SceneFilters(lambda: [TemporalSmoother(0.95)])
    after = [scenes(*pair) for pair in zip(content, result, strict=True)]
    assert np.array_equal(after[2], result[2])
    assert not np.array_equal(after[1], result[1])


def test_filters_are_applied_in_order_to_the_file(clip: Path, tmp_path: Path):
    flashes = iter(range(FRAMES))

    def flashing(frame: np.ndarray) -> np.ndarray:
        return np.full_like(frame, 90 + 60 * (next(flashes) % 2))

    still = make_clip(tmp_path / "still.mp4", options={"crf": "30"})
    contents = []

    def half(content: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        contents.append(content)
        return stylized // 2

    report = stylize_video(
        flashing, still, tmp_path / "out.mp4", filters=lambda: [TemporalSmoother(0.8), half]
    )
    means = pixels(tmp_path / "out.mp4")[10:, :20].mean((1, 2, 3))
    assert report.frames == len(contents) == FRAMES
    assert np.array_equal(np.stack(contents), pixels(still))
    assert means.mean() == pytest.approx(60, abs=3)  # half of 120, the mean of the flashes
    assert means.std() < 5  # without smoothing 15
