"""Video files as people have them: several streams, odd tags, data, odd times, no video at all."""

import os
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from samples import draw_clip

from fst.errors import UserError
from fst.video.reader import Frame, VideoReader
from fst.video.video import stylize_video

av = pytest.importorskip("av")
DEFAULT = av.stream.Disposition.default


def same(frame: np.ndarray) -> np.ndarray:
    return frame


def encode(
    container,
    codec: str,
    size: tuple[int, int] = (64, 48),
    frames: int = 4,
    disposition: int = 0,
    flags: int = 0,
    draw: Callable[[int], np.ndarray] | None = None,
    **context,
):
    """Add a video stream of 25 frames per second, and return it with its packets."""
    stream = container.add_stream(codec, 25, options=context.pop("options", None))
    stream.width, stream.height = size
    for name, value in context.items():
        setattr(stream.codec_context, name, value)
    stream.codec_context.flags |= flags
    stream.disposition = disposition
    packets = []
    for number in range(frames):
        pixels = draw(number) if draw else np.full((size[1], size[0], 3), 20 * number, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, "rgba" if pixels.shape[2] == 4 else "rgb24")
        packets += stream.encode(frame)
    return stream, [*packets, *stream.encode(None)]


def write(path: Path, *streams: dict) -> Path:
    """Write a file with these video streams, interleaved."""
    with av.open(str(path), "w") as container:
        encoded = [encode(container, **stream) for stream in streams]
        for packet in sorted(
            (packet for _, packets in encoded for packet in packets),
            key=lambda packet: packet.dts * packet.time_base,
        ):
            container.mux(packet)
    return path


def frames_of(path: Path) -> list[Frame]:
    with VideoReader(path) as reader:
        return [item for item in reader if isinstance(item, Frame)]


PREVIEW = {"codec": "mjpeg", "size": (32, 24), "pix_fmt": "yuvj420p"}
FILM = {"codec": "libx264", "size": (160, 120), "frames": 12}


@pytest.mark.parametrize(
    ("suffix", "streams", "film"),
    [
        (".mp4", [{**PREVIEW, "frames": 1, "disposition": DEFAULT}, FILM], 1),
        (".mkv", [{**PREVIEW, "frames": 12, "disposition": DEFAULT}, FILM], 1),
        (".mov", [FILM, PREVIEW], 0),
        (".mkv", [{**FILM, "size": (192, 144)}, {**FILM, "disposition": DEFAULT}], 1),
        (".mkv", [{**FILM, "size": (96, 72)}, FILM], 1),
        (".ts", [{**FILM, "size": (64, 48)}, FILM], 1),
        (".mp4", [{**PREVIEW, "size": (640, 480), "frames": 1, "disposition": DEFAULT}, FILM], 1),
    ],
)
def test_of_several_video_streams_the_film_is_shown(
    tmp_path: Path, suffix: str, streams: list[dict], film: int
):
    clip = write(tmp_path / f"clip{suffix}", *streams)
    report = stylize_video(same, clip, tmp_path / "out.mp4")
    assert (report.frames, report.width, report.height) == (12, 160, 120)
    other = streams[1 - film]
    width, height = other["size"]
    codec = {"libx264": "h264"}.get(other["codec"], other["codec"])
    assert report.notes == (
        f"video stream {1 - film} dropped: {width}x{height}, {codec}",
        f"the film is video stream {film}: 160x120, h264",
    )


def test_a_cover_is_no_film_and_is_named(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        _, cover = encode(container, **PREVIEW, frames=1)
        container.streams[0].disposition = av.stream.Disposition.attached_pic
        _, film = encode(container, **FILM)
        container.mux([*cover, *film])
    report = stylize_video(same, path, tmp_path / "out.mkv")
    assert (report.frames, report.width) == (12, 160)
    assert report.notes == ("cover picture dropped",)


def with_fonts(path: Path, fonts: Sequence[str]) -> Path:
    with av.open(str(path), "w") as container:
        _, packets = encode(container, **FILM)
        for font in fonts:
            container.add_attachment(font, "font/ttf", font.encode() * 40)
        container.mux(packets)
    return path


def test_fonts_of_subtitles_are_kept_or_named(tmp_path: Path):
    clip = with_fonts(tmp_path / "clip.mkv", ["Sans.ttf", "Serif.ttf"])
    assert stylize_video(same, clip, tmp_path / "out.mkv").notes == ()
    with av.open(str(tmp_path / "out.mkv")) as container:
        fonts = [(stream.name, bytes(stream.data)) for stream in container.streams.attachments]
    assert fonts == [("Sans.ttf", b"Sans.ttf" * 40), ("Serif.ttf", b"Serif.ttf" * 40)]
    for suffix, name in ((".mp4", "mp4"), (".webm", "webm")):
        notes = stylize_video(same, clip, tmp_path / f"out{suffix}").notes
        assert notes == tuple(
            f"attachment {font} dropped: {name} cannot hold it"
            for font in ("Sans.ttf", "Serif.ttf")
        )


def test_streams_of_data_are_named(tmp_path: Path):
    path = tmp_path / "clip.ts"
    with av.open(str(path), "w") as container:
        _, packets = encode(container, **FILM)
        data = container.add_data_stream("klv")
        data.time_base = Fraction(1, 90_000)
        for number in range(3):
            packet = av.Packet(b"\x06\x0e\x2b\x34" + bytes(28))
            packet.pts = packet.dts = 3600 * number
            packet.time_base, packet.stream = data.time_base, data
            packets.append(packet)
        container.mux(packets)
    (note,) = stylize_video(same, path, tmp_path / "out.mp4").notes
    assert note.startswith("data stream dropped: 1 (")


def test_the_timecode_of_a_camera_is_kept(tmp_path: Path):
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        stream, packets = encode(container, **FILM)
        stream.metadata["timecode"] = "01:02:03:04"
        container.mux(packets)
    for suffix in (".mov", ".mp4", ".mkv"):
        out = tmp_path / f"out{suffix}"
        assert stylize_video(same, path, out).notes == ()
        with av.open(str(out)) as container:
            tags = {key.lower(): value for key, value in container.streams[0].metadata.items()}
        assert tags["timecode"] == "01:02:03:04"


def test_transparency_is_named(tmp_path: Path):
    clear = np.full((48, 64, 4), 99, np.uint8)
    path = write(
        tmp_path / "clip.mov",
        {"codec": "qtrle", "pix_fmt": "argb", "draw": lambda number: clear},
    )
    assert stylize_video(same, path, tmp_path / "out.mp4").notes == ("transparency dropped",)
    opaque = write(tmp_path / "opaque.mov", {"codec": "qtrle", "pix_fmt": "rgb24"})
    assert stylize_video(same, opaque, tmp_path / "out.mp4").notes == ()


def comb_index(pixels: np.ndarray) -> float:
    """How far a line departs from the mean of its neighbours, the least of all frames' mean."""
    lines = pixels.astype(float)
    return float(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean())


def moving_fields(number: int) -> np.ndarray:
    """A bar that moves 8 px per frame, each second line half a frame later."""
    pixels = np.full((64, 96, 3), 30, np.uint8)
    for field in (0, 1):
        left = 8 * number + 4 * field
        pixels[field::2, left : left + 24] = 220
    return pixels


def write_interlaced(path: Path, codec: str = "libx264", **more) -> Path:
    options = {"x264-params": "tff=1"} if codec == "libx264" else {"field_order": "tt"}
    flags = av.codec.context.Flags.interlaced_dct.value | av.codec.context.Flags.interlaced_me.value
    stream = {"codec": codec, "size": (96, 64), "frames": 8, "draw": moving_fields, **more}
    return write(path, {**stream, "options": options, "flags": flags})


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mts", "libx264"), ("a.mpg", "mpeg2video"), ("a.avi", "mpeg2video")]
)
def test_interlaced_videos_are_deinterlaced(tmp_path: Path, name: str, codec: str):
    clip = write_interlaced(tmp_path / name, codec)
    with av.open(str(clip)) as container:
        before = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert min(map(comb_index, before)) > 5
    report = stylize_video(same, clip, tmp_path / "out.mp4")
    after = frames_of(tmp_path / "out.mp4")
    assert max(comb_index(frame.pixels) for frame in after) < 2
    assert report.frames == len(after) == 8
    assert report.notes == ("interlaced: each pair of fields became one whole frame",)
    assert [round(frame.time * 1000) for frame in after] == [40 * number for number in range(8)]
    # The bar is where the first field has it, as sharp as it was.
    for number, frame in enumerate(after[1:-1], 1):
        middle = frame.pixels[32, :, 0].astype(int)
        assert middle[8 * number + 8 : 8 * number + 20].min() > 190
        assert (
            max(middle[: max(0, 8 * number - 6)].max(initial=0), middle[8 * number + 34 :].max())
            < 60
        )


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_interlaced_videos_keep_every_frame(tmp_path: Path, frames: int):
    clip = write_interlaced(tmp_path / "a.mkv", frames=frames)
    assert stylize_video(same, clip, tmp_path / "out.mp4").frames == frames


def test_progressive_videos_are_not_filtered(tmp_path: Path):
    clip = write(tmp_path / "a.mp4", {**FILM, "options": {"crf": "0"}})
    with av.open(str(clip)) as container:
        plain = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    with VideoReader(clip) as reader:
        frames = [item for item in reader]
        assert reader.notes == []
    assert len(frames) == len(plain) == 12


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_b_frames_in_avi_are_shown_on_time(tmp_path: Path, codec: str, b_frames: str):
    def draw(number: int) -> np.ndarray:
        return np.full((48, 64, 3), 20 + 10 * number, np.uint8)

    clip = write(
        tmp_path / "clip.avi",
        {"codec": codec, "frames": 20, "draw": draw, "options": {"bf": b_frames}},
    )
    report = stylize_video(same, clip, tmp_path / "out.mp4")
    frames = frames_of(tmp_path / "out.mp4")
    assert report.frames == 20
    assert [round(frame.time * 1000) for frame in frames] == [40 * number for number in range(20)]
    levels = [frame.pixels.mean() for frame in frames]
    assert levels == pytest.approx([20 + 10 * number for number in range(20)], abs=6)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration == pytest.approx(0.8 * av.time_base, abs=1000)


def damage_bytes(path: Path, right: bytes, wrong: bytes) -> None:
    assert len(right) == len(wrong)
    content = path.read_bytes()
    assert right in content
    path.write_bytes(content.replace(right, wrong))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".avi", ".mkv"])
@pytest.mark.parametrize(
    ("tag", "title"),
    [
        (b"Caf\xe9XX", "CaféXX"),
        (b"It\x92s ok", "It’s ok"),
        (b"\xff\xfe\x81\xa0bc", "ÿþ\ufffd\xa0bc"),
    ],
)
def test_tags_that_are_not_utf_8_are_read_as_windows_1252(
    tmp_path: Path, suffix: str, tag: bytes, title: str
):
    clip = tmp_path / f"clip{suffix}"
    with av.open(str(clip), "w") as container:
        _, packets = encode(container, "mpeg4")
        container.metadata["title"] = "x" * len(tag)
        container.mux(packets)
    damage_bytes(clip, b"x" * len(tag), tag)
    report = stylize_video(same, clip, tmp_path / "out.mkv")
    assert report.frames == 4
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"] == title


def test_tags_of_streams_and_chapters_may_be_latin_1_too(tmp_path: Path):
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w") as container:
        _, packets = encode(container, "mpeg4")
        audio = container.add_stream("pcm_s16le", 8000)
        audio.codec_context.layout = "mono"
        audio.metadata["title"] = "sound-title"
        chapter = {"id": 1, "start": 0, "end": 100, "time_base": Fraction(1, 1000)}
        container.set_chapters([{**chapter, "metadata": {"title": "chapter-title"}}])
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        samples.sample_rate = 8000
        container.mux([*packets, *audio.encode(samples), *audio.encode(None)])
    damage_bytes(clip, b"sound-title", b"s\xf6und-title")
    damage_bytes(clip, b"chapter-title", b"ch\xe1pter-title")
    stylize_video(same, clip, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.audio[0].metadata["title"] == "söund-title"
        assert container.chapters()[0]["metadata"]["title"] == "chápter-title"


PLAYLISTS = {
    "ffconcat": "ffconcat version 1.0\nfile 'secret.mp4'\n",
    "itself": "ffconcat version 1.0\nfile 'list.mp4'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>secret.mp4"
    "</BaseURL></MPD>",
    "subtitles": "WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_text_that_names_other_files_is_no_video(tmp_path: Path, kind: str):
    draw_clip(tmp_path / "secret.mp4")
    (tmp_path / "list.mp4").write_text(PLAYLISTS[kind])
    with pytest.raises(UserError, match=r"cannot read .*list\.mp4 as a video") as refused:
        stylize_video(same, tmp_path / "list.mp4", tmp_path / "out.mp4")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out.mp4").exists()


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(UserError, match="not a file"):
        VideoReader(tmp_path / "clip.mp4")


@pytest.mark.parametrize("aspect", [Fraction(2**31 - 1), Fraction(1, 2**31 - 1), Fraction(9)])
def test_a_senseless_pixel_aspect_is_taken_as_square(tmp_path: Path, aspect: Fraction):
    clip = write(tmp_path / "clip.mov", {"codec": "mpeg4", "sample_aspect_ratio": Fraction(4, 3)})
    box = b"pasp" + struct.pack(">II", 4, 3)
    damage_bytes(clip, box, b"pasp" + struct.pack(">II", *aspect.as_integer_ratio()))
    report = stylize_video(same, clip, tmp_path / "out.mp4")
    assert (report.width, report.height) == (64, 48)
    assert f"damaged: pixels {aspect} times as wide as high are taken as square" in report.notes


def with_sound(path: Path, codec: str, layout: str, rate: int, levels: Sequence[int]) -> Path:
    """Ten frames, and 0.4 s of a tone whose amplitude differs between the channels."""
    with av.open(str(path), "w") as container:
        _, packets = encode(container, "mpeg4", frames=10)
        audio = container.add_stream(codec, rate)
        audio.codec_context.layout = layout
        wave = np.sin(np.arange(rate * 2 // 5) * 2 * np.pi * 300 / rate)
        samples = (wave[:, None] * levels).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, "s16", layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux([*packets, *audio.encode(frame), *audio.encode(None)])
    return path


def sound_of(path: Path) -> tuple[str, float, list[float]]:
    """Codec, length in seconds and amplitude of each channel."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        planar = av.AudioResampler("fltp")
        decoded = [
            part.to_ndarray()
            for frame in container.decode(audio=0)
            for part in planar.resample(frame)
        ]
        codec, rate = stream.codec_context.codec.canonical_name, stream.rate
    samples = np.concatenate(decoded, axis=1)
    middle = samples[:, samples.shape[1] // 4 : -samples.shape[1] // 4]
    return codec, samples.shape[1] / rate, [float(channel) for channel in middle.std(1) * 2**15]


LEVELS = (9000, 7000, 5000, 3000, 8000, 6000)
"""Of the channels of 5.1; the fourth is the subwoofer, in which codecs keep only low tones."""


@pytest.mark.parametrize(
    ("source", "codec", "target", "right"),
    [
        ("clip.mp4", "aac", "out.mp4", "aac"),
        ("clip.mkv", "ac3", "out.mkv", "ac3"),
        ("clip.mkv", "ac3", "out.mov", "ac3"),
        ("clip.mkv", "pcm_s16le", "out.webm", "opus"),
        ("clip.mkv", "ac3", "out.webm", "opus"),
    ],
)
def test_six_channels_stay_six(tmp_path: Path, source: str, codec: str, target: str, right: str):
    clip = with_sound(tmp_path / source, codec, "5.1", 48_000, LEVELS)
    report = stylize_video(same, clip, tmp_path / target)
    found, seconds, levels = sound_of(tmp_path / target)
    assert found == right
    assert bool(report.notes) == (right == "opus")
    assert seconds == pytest.approx(0.4, abs=0.06)
    assert len(levels) == 6
    expected = [level / 2**0.5 for level in LEVELS]
    for channel in (0, 1, 2, 4, 5):
        assert levels[channel] == pytest.approx(expected[channel], rel=0.2)


@pytest.mark.parametrize(("target", "codec"), [("out.mov", "amr_nb"), ("out.mp4", "aac")])
def test_the_sound_of_old_telephones_is_kept(tmp_path: Path, target: str, codec: str):
    clip = with_sound(tmp_path / "clip.3gp", "libopencore_amrnb", "mono", 8000, (9000,))
    report = stylize_video(same, clip, tmp_path / target)
    found, seconds, (level,) = sound_of(tmp_path / target)
    assert found == codec
    assert len(report.notes) == (codec == "aac")
    assert seconds == pytest.approx(0.4, abs=0.15)
    assert level > 2000


@pytest.mark.parametrize("target", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_the_sound_of_an_avi_is_kept(tmp_path: Path, target: str):
    """Its file says how many channels there are, and not which."""
    clip = with_sound(tmp_path / "clip.avi", "pcm_s16le", "stereo", 48_000, (9000, 4000))
    stylize_video(same, clip, tmp_path / target)
    _, seconds, levels = sound_of(tmp_path / target)
    assert seconds == pytest.approx(0.4, abs=0.05)
    assert levels == pytest.approx([9000 / 2**0.5, 4000 / 2**0.5], rel=0.1)


def test_frames_before_the_start_are_shown_from_zero_on(tmp_path: Path):
    clip = tmp_path / "clip.mkv"
    with av.open(str(clip), "w", container_options={"avoid_negative_ts": "disabled"}) as container:
        _, packets = encode(container, "mpeg4", frames=5, draw=grey)
        for packet in packets:
            earlier = round(Fraction(1, 10) / packet.time_base)
            packet.pts, packet.dts = packet.pts - earlier, packet.dts - earlier
        container.mux(packets)
    for suffix in (".mp4", ".mkv"):
        assert stylize_video(same, clip, tmp_path / f"out{suffix}").frames == 5
        at = [round(frame.time * 1000) for frame in frames_of(tmp_path / f"out{suffix}")]
        assert at == [0, 40, 80, 120, 160]


def grey(number: int) -> np.ndarray:
    return np.full((48, 64, 3), 20 + 10 * number, np.uint8)


def test_an_edit_list_that_cuts_the_start_is_followed(tmp_path: Path):
    """As editors trim: the frames are in the file, and its first eight are not to be shown."""
    clip = tmp_path / "clip.mp4"
    options = {"use_editlist": "1", "avoid_negative_ts": "disabled", "movie_timescale": "600"}
    with av.open(str(clip), "w", container_options=options) as container:
        _, packets = encode(container, "mpeg4", frames=20, draw=grey)
        for packet in packets:
            cut = round(8 / 25 / packet.time_base)
            packet.pts, packet.dts = packet.pts - cut, packet.dts - cut
        container.mux(packets)
    stylize_video(same, clip, tmp_path / "out.mp4")
    frames = frames_of(tmp_path / "out.mp4")
    assert [round(frame.time * 1000) for frame in frames] == [40 * number for number in range(12)]
    levels = [frame.pixels.mean() for frame in frames]
    assert levels == pytest.approx([100 + 10 * number for number in range(12)], abs=6)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_gap_between_frames_stays(tmp_path: Path, suffix: str):
    """As screen recorders and telephones leave them: a frame stays for seconds."""
    clip = tmp_path / f"clip{suffix}"
    with av.open(str(clip), "w") as container:
        _, packets = encode(container, "mpeg4", frames=6, draw=grey)
        for packet in packets[3:]:
            later = round(7 / packet.time_base)
            packet.pts, packet.dts = packet.pts + later, packet.dts + later
        container.mux(packets)
    stylize_video(same, clip, tmp_path / f"out{suffix}")
    at = [round(frame.time * 1000) for frame in frames_of(tmp_path / f"out{suffix}")]
    assert at == [0, 40, 80, 7120, 7160, 7200]
