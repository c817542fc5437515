"""Cuts are found, other changes are not taken for cuts, and nothing is carried over a cut."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fst.video.cuts import CutDetector
from fst.video.filters import SceneFilters, TemporalSmoother
from fst.video.video import stylize_video
from fst.video.writer import VideoWriter

HEIGHT, WIDTH = 90, 160


def scene(seed: int, width: int = WIDTH) -> np.ndarray:
    """A picture of soft shapes in random colours, (HEIGHT, width, 3)."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, width // 15, generator=random)
    shapes = torch.nn.functional.interpolate(coarse, (HEIGHT, width), mode="bicubic")
    return (shapes[0].permute(1, 2, 0) * 255).clamp(0, 255).byte().numpy()


def noisy(picture: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, deviation, picture.shape)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def cuts(frames: list[np.ndarray]) -> list[int]:
    begins_scene = CutDetector()
    return [number for number, frame in enumerate(frames) if begins_scene(frame)]


def three_cuts() -> list[np.ndarray]:
    return [noisy(scene(number // 6), 4, number) for number in range(24)]


def pan(step: int) -> list[np.ndarray]:
    wide = scene(0, 640)
    return [np.ascontiguousarray(wide[:, step * n : step * n + WIDTH]) for n in range(8)]


def fade(steps: int) -> list[np.ndarray]:
    levels = [*np.linspace(1, 0, steps), *np.linspace(0, 1, steps)]
    return [noisy(scene(0) * level, 3, number) for number, level in enumerate(levels)]


def dissolve() -> list[np.ndarray]:
    shares = np.linspace(0, 1, 12)
    return [noisy(scene(0) * (1 - share) + scene(1) * share, 3, 0) for share in shares]


def test_hard_cuts_are_found():
    assert cuts(three_cuts()) == [0, 6, 12, 18]


@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_a_cut_to_a_similar_palette_is_found(seed: int):
    picture = scene(seed)
    assert cuts([picture, np.ascontiguousarray(picture[::-1, ::-1])]) == [0, 1]


def flash() -> list[np.ndarray]:
    bright = (scene(0).astype(int) + 90).clip(0, 255).astype(np.uint8)
    return [scene(0), bright, scene(0)]


@pytest.mark.parametrize(
    "frames",
    [pan(4), pan(16), pan(40), fade(8), dissolve(), flash()],
    ids=["slow pan", "fast pan", "a quarter per frame", "fade", "dissolve", "flash"],
)
def test_motion_and_gradual_changes_are_no_cuts(frames: list[np.ndarray]):
    assert cuts(frames) == [0]


def test_noise_is_no_cut():
    assert cuts([noisy(scene(0), 50, number) for number in range(8)]) == [0]


def test_an_object_that_crosses_the_picture_is_no_cut():
    frames = []
    for number in range(8):
        frame = scene(0).copy()
        frame[20:70, 15 * number : 15 * number + 40] = 255, 0, 128
        frames.append(frame)
    assert cuts(frames) == [0]


def test_no_ghost_of_the_last_scene(tmp_path: Path):
    pytest.importorskip("av")
    path = tmp_path / "cuts.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, 24) as writer:
        for number, frame in enumerate(three_cuts()):
            writer.write(frame, number / 24)
    before: list[np.ndarray] = []
    after: list[np.ndarray] = []

    def keep(content: np.ndarray, stylized: np.ndarray) -> np.ndarray:
        before.append(content)
        after.append(stylized)
        return stylized

    def invert(frame: np.ndarray) -> np.ndarray:
        return 255 - frame

    def filters():
        return [TemporalSmoother(0.9), keep]

    stylize_video(invert, path, tmp_path / "out.mp4", filters=filters)
    for start in (0, 6, 12, 18):
        shot = before[start : start + 6]
        alone = SceneFilters(lambda: [TemporalSmoother(0.9)])
        expected = [alone(content, invert(content)) for content in shot]
        assert np.array_equal(after[start : start + 6], expected)
        assert np.array_equal(after[start], invert(before[start]))
        assert not np.array_equal(after[start + 1], invert(before[start + 1]))
