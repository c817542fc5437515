"""Stability of stylizations whose error is known: on a texture that moves by whole pixels."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fst.measuring.stability import Flicker, flow_between, measure_stability, stability_of, warp
from fst.video.writer import VideoWriter

HEIGHT, WIDTH, FRAMES = 96, 128, 6
STEP = 2, 3  # pixels down and right, from frame to frame


def texture(seed: int) -> np.ndarray:
    """Of waves of 8 px and more, (HEIGHT + 24, WIDTH + 24, 3)."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT + 24, WIDTH + 24, 3))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(WIDTH + 24), np.fft.fftfreq(HEIGHT + 24)))
    spectrum = np.fft.fft2(noise, axes=(0, 1)) * (frequency < 1 / 8)[..., None]
    waves = np.fft.ifft2(spectrum, axes=(0, 1)).real
    return (128 + 40 * waves / waves.std()).clip(0, 255).round().astype(np.uint8)


def moving(count: int = FRAMES) -> list[np.ndarray]:
    """A texture that moves by `STEP`."""
    pixels = texture(0)
    return [
        pixels[24 - STEP[0] * t :, 24 - STEP[1] * t :][:HEIGHT, :WIDTH].copy() for t in range(count)
    ]


def same(frame: np.ndarray) -> np.ndarray:
    return frame


def noisy(sigma: float) -> Callable[[np.ndarray], np.ndarray]:
    """Noise that is new in each frame, around a grey that it does not leave."""
    random = np.random.default_rng(0)

    def stylize(frame: np.ndarray) -> np.ndarray:
        return (128 + random.normal(0, sigma, frame.shape)).clip(0, 255).round().astype(np.uint8)

    return stylize


def test_what_moves_with_the_content_is_stable():
    found = stability_of(same, moving())
    assert found.frames == FRAMES
    assert found.warping_error is not None
    assert found.warping_error < 0.5
    assert found.warping_error == found.warping_error_input
    assert 0.8 < found.valid_share < 1  # at two sides, what comes into the picture is not
    assert found.flicker is found.flicker_input is None
    assert found.static_share == 0


def test_the_error_is_that_of_the_difference_along_the_motion():
    # Noise of deviation s in both frames; interpolation at whole pixels takes nothing out of it.
    found = stability_of(noisy(10), moving())
    assert found.warping_error == pytest.approx(10 * math.sqrt(2), rel=0.03)
    assert found.warping_error_input is not None
    assert found.warping_error_input < 0.5


def test_strokes_that_stay_while_the_content_moves_are_an_error():
    still = texture(1)[:HEIGHT, :WIDTH]
    found = stability_of(lambda frame: still, moving())
    rows, columns = STEP
    change = still[rows:, columns:].astype(float) - still[:-rows, :-columns]
    assert found.warping_error == pytest.approx(np.sqrt(np.mean(change**2)), rel=0.1)


def test_the_background_that_an_object_uncovers_is_not_compared():
    background = texture(0)[:HEIGHT, :WIDTH]
    covered = [background.copy(), background.copy()]
    covered[0][24:72, 32:80] = covered[1][24:72, 38:86] = texture(2)[:48, :48]
    flow, valid = flow_between(covered[1], covered[0])
    assert valid[28:68, 33:37].mean() < 0.1  # uncovered
    assert valid[36:60, 50:74].mean() > 0.9  # the object
    assert valid[:16].mean() > 0.9
    assert flow[36:60, 50:74].mean((0, 1)) == pytest.approx([-6, 0], abs=0.1)
    found = stability_of(same, covered)
    everywhere = np.sqrt(np.mean((covered[1].astype(float) - covered[0]) ** 2))
    assert found.warping_error is not None
    assert found.warping_error < 0.1 * everywhere


def test_warping_takes_from_where_the_flow_leads():
    image = np.random.default_rng(0).random((20, 30, 3), np.float32)
    flow = np.broadcast_to(np.float32([2, -1]), (20, 30, 2))
    assert np.array_equal(warp(image, flow)[1:, :-2], image[:-1, 2:])
    halves = warp(image, flow + np.float32([0.5, 0]))[1:, :-3]
    assert halves == pytest.approx((image[:-1, 2:-1] + image[:-1, 3:]) / 2, abs=1e-6)


def test_flicker_is_the_deviation_over_the_static_background():
    background = texture(0)[:HEIGHT, :WIDTH]
    frames = [background.copy() for _ in range(40)]
    for t, frame in enumerate(frames):
        frame[: HEIGHT // 4] = frame[: HEIGHT // 4] // 2 + 60 * (t % 2)
    found = stability_of(noisy(5), frames)
    assert found.static_share == pytest.approx(0.75)
    assert found.flicker == pytest.approx(5, rel=0.03)
    assert found.flicker_input == 0


def test_flicker_tells_steps_from_drift():
    flicker = Flicker()
    for t in range(11):
        flicker.add(np.full((2, 3, 3), 10 * t, np.uint8))
    deviation, step = flicker.maps()
    assert deviation == pytest.approx(np.full((2, 3), math.sqrt(1000)))
    assert step == pytest.approx(np.full((2, 3), 10))


def test_frames_of_nothing_in_common_are_not_compared():
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(3)]
    assert stability_of(same, noise).valid_share < 0.3


def test_where_no_motion_is_known_there_is_no_error(monkeypatch: pytest.MonkeyPatch):
    unknown = np.zeros((HEIGHT, WIDTH, 2), np.float32), np.zeros((HEIGHT, WIDTH), bool)
    monkeypatch.setattr("fst.measuring.stability.flow_between", lambda frame, other: unknown)
    found = stability_of(same, moving())
    assert found.warping_error is found.warping_error_input is None
    assert found.valid_share == 0


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least 2 frames, but there is none"),
        (moving(1), "at least 2 frames, but there is 1"),
        ([np.zeros((12, 40, 3), np.uint8)] * 2, "16 pixels per side; the frames are 40x12"),
    ],
)
def test_unusable_frames_are_refused(frames: list[np.ndarray], message: str):
    with pytest.raises(ValueError, match=message):
        stability_of(same, frames)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "moving.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, 25) as writer:
        for t, frame in enumerate(moving(8)):
            writer.write(frame, t / 25)
    return path


def test_a_file_is_measured_up_to_a_number_of_frames(clip: Path):
    reported = []
    found = measure_stability(
        same, clip, frames=5, size=64, progress=lambda done, total: reported.append((done, total))
    )
    assert found.frames == 5
    assert reported == [(done, 5) for done in range(1, 6)]
    assert found.warping_error is not None
    assert found.warping_error < 6  # scaling makes the steps fractions of pixels; the codec
    assert measure_stability(same, clip).frames == 8
    with pytest.raises(ValueError, match="frames=1"):
        measure_stability(same, clip, frames=1)


def test_the_missing_extra_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install 'fst-style-transfer\[evaluate\]'"):
        measure_stability(same, clip)
