"""Colours of videos: HDR and wide gamuts become sRGB, and the result says so."""

from pathlib import Path

import numpy as np
import pytest
from colours import BT2020, P3, PATCHES, SAME, hlg, pq, srgb, srgb_light

from fst.video.reader import Frame, VideoReader
from fst.video.video import stylize_video
from fst.video.writer import VideoWriter
from fst.webcam.camera import Camera

av = pytest.importorskip("av")

CODECS = {
    # Of fewer frames than B-frames reorder, x265 gives some no time.
    "libx265": {"x265-params": "log-level=none:qp=4:bframes=0"},
    "libx264": {"crf": "4"},
    "libvpx-vp9": {"crf": "4"},
    "prores_ks": {},
}
TAGS = "colorspace", "color_primaries", "color_trc", "color_range"


def make_clip(
    path: Path,
    values: np.ndarray,
    codec: str,
    layout: str,
    tags: tuple[int, int, int],
    full_range: bool = False,
) -> Path:
    """Write a video of two frames: values in [0, 1], (2, 4, 3), as patches of 32 pixels."""
    pixels = (values.clip(0, 1) * 65535).round().astype(np.uint16).repeat(32, 0).repeat(32, 1)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, 25, dict(CODECS[codec]))
        video.width, video.height, video.pix_fmt = pixels.shape[1], pixels.shape[0], layout
        for name, value in zip(TAGS, (*tags, 2 if full_range else 1), strict=True):
            setattr(video.codec_context, name, value)
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb48le").reformat(
                format=layout,
                dst_colorspace={0: None, 6: 5}.get(tags[0], tags[0]),
                dst_color_range=2 if full_range else 1,
            )
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def first_frame(path: Path) -> np.ndarray:
    with VideoReader(path) as reader:
        return next(item for item in reader if isinstance(item, Frame)).pixels


def off(path: Path) -> int:
    shown = first_frame(path)[16::32, 16::32].astype(int)
    return int(np.abs(shown - PATCHES).max())


def tags_of(path: Path) -> tuple[int, ...]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return tuple(int(getattr(frame, name)) for name in TAGS)


LIGHT = srgb_light(PATCHES)
PQ, HLG = pq(LIGHT @ BT2020.T), hlg(LIGHT @ BT2020.T)
WIDE, SDR = srgb(LIGHT @ BT2020.T), srgb(LIGHT @ SAME)


@pytest.mark.parametrize(
    ("name", "values", "codec", "layout", "tags"),
    [
        ("pq.mp4", PQ, "libx265", "yuv420p10le", (9, 9, 16)),
        ("hlg.mp4", HLG, "libx265", "yuv420p10le", (9, 9, 18)),
        ("full.mp4", HLG, "libx265", "yuv420p10le", (9, 9, 18)),
        ("rgb.mkv", PQ, "libx265", "gbrp10le", (0, 9, 16)),
        ("8_bits.webm", PQ, "libvpx-vp9", "yuv420p", (9, 9, 16)),
        ("in_container_only.mov", PQ, "prores_ks", "yuv422p10le", (9, 9, 16)),
        ("wide.mp4", WIDE, "libx265", "yuv420p10le", (9, 9, 14)),
        ("matrix_only.mp4", WIDE, "libx264", "yuv420p", (9, 2, 2)),
        ("p3.mp4", srgb(LIGHT @ P3.T), "libx264", "yuv420p", (1, 12, 1)),
    ],
)
def test_hdr_and_wide_gamuts_become_sdr_and_the_result_says_so(
    tmp_path: Path,
    name: str,
    values: np.ndarray,
    codec: str,
    layout: str,
    tags: tuple[int, int, int],
):
    clip = make_clip(tmp_path / name, values, codec, layout, tags, name == "full.mp4")
    assert off(clip) <= 10
    stylize_video(lambda frame: frame, clip, tmp_path / "out.mp4")
    assert tags_of(tmp_path / "out.mp4") == (1, 1, 1, 1)
    assert off(tmp_path / "out.mp4") <= 12


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("tags", [(1, 1, 1), (5, 5, 6), (6, 6, 6), (1, 1, 13), (1, 2, 2)])
def test_sdr_video_is_taken_as_it_is_with_its_matrix_and_range(
    tmp_path: Path, tags: tuple[int, int, int], full_range: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fst.pictures.colour._light_of", None)  # nothing is converted
    clip = make_clip(tmp_path / "clip.mp4", SDR, "libx264", "yuv420p", tags, full_range)
    assert off(clip) <= 4
    stylize_video(lambda frame: frame, clip, tmp_path / "out.mp4")
    assert off(tmp_path / "out.mp4") <= 6
    kept = tuple(given if given != 2 else 1 for given in tags)
    assert tags_of(tmp_path / "out.mp4") == (*kept, 1)


def test_hdr_highlights_differ_after_scaling(tmp_path: Path):
    nits = np.array([[100, 203, 400, 1000]]).repeat(2, 0)
    values = pq(nits[..., None].repeat(3, 2) / 203)
    clip = make_clip(tmp_path / "a.mov", values, "prores_ks", "yuv422p10le", (9, 9, 16))
    with VideoReader(clip, 32) as reader:
        frame = next(item for item in reader if isinstance(item, Frame)).pixels
    assert frame.shape == (32, 64, 3)
    shown = frame[8, 8::16, 0].astype(int)
    assert np.abs(shown - [186, 245, 252, 254]).max() <= 1


def test_a_webcam_shows_hdr_files_as_sdr(tmp_path: Path):
    pytest.importorskip("cv2")
    clip = make_clip(tmp_path / "hlg.mp4", HLG, "libx265", "yuv420p10le", (9, 9, 18))
    shown = Camera(str(clip)).first[16::32, 16::32].astype(int)
    assert np.abs(shown - PATCHES).max() <= 10


def test_what_is_recorded_is_srgb_and_says_so(tmp_path: Path):
    frame = PATCHES.astype(np.uint8).repeat(32, 0).repeat(32, 1)
    with VideoWriter(tmp_path / "a.mp4", 128, 64, 25) as writer:
        writer.write(frame, 0)
    assert tags_of(tmp_path / "a.mp4") == (1, 1, 1, 1)
    assert off(tmp_path / "a.mp4") <= 6
