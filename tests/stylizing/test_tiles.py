"""Tiles: the result is that of the whole picture, seams and all else excluded."""

import subprocess
import sys

import pytest
import torch

from fst.config import FastConfig, JohnsonConfig
from fst.models.model_file import describe
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.stylizing.stylizer import Stylizer
from fst.stylizing.tiles import split

torch.manual_seed(0)
NETWORKS = {
    "fast": Fast(FastConfig(width=8, residual_blocks=2, coarse_width=8, coarse_blocks=2)),
    "without coarse": Fast(FastConfig(width=8, residual_blocks=2, coarse_blocks=0)),
    "johnson": Johnson(JohnsonConfig(width=4, residual_blocks=2)),
    "paper": Johnson(
        JohnsonConfig(width=4, residual_blocks=1, norm="batch", upsample="transposed")
    ),
}


def stylizer(name: str) -> Stylizer:
    network = NETWORKS[name]
    return Stylizer(network, describe(network), torch.device("cpu"), torch.float32)


def uneven_picture(height: int, width: int) -> torch.Tensor:
    """A picture whose parts differ, so that a tile's own statistics would be far off."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, height, width, generator=generator)
    return noise * torch.linspace(0, 1, width) ** 2 + 0.3 * torch.linspace(0, 1, height)[:, None]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(150, 203), (64, 64), (1, 300), (130, 7)])
def test_tiles_give_what_the_whole_gives(name: str, size: tuple[int, int]):
    stylize, image = stylizer(name), uneven_picture(*size).clamp(0, 1)
    whole, tiled = stylize(image, tile_px=0), stylize(image, tile_px=48)
    # Rounding alone: what 8 bits hold is 40 times coarser.
    assert (whole - tiled).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["fast", "johnson"])
def test_tiles_of_a_flat_picture_are_as_calm_as_the_whole(name: str):
    stylize, flat = stylizer(name), torch.full((1, 3, 100, 120), 0.3)
    whole, tiled = (stylize(flat, tile_px=px) for px in (0, 48))
    assert (whole - whole[..., :1, :1]).abs().max() < 1e-3
    assert (whole - tiled).abs().max() < 1e-5


def test_a_tile_s_own_statistics_would_show():
    stylize, image = stylizer("fast"), uneven_picture(96, 192).clamp(0, 1)
    halves = torch.cat([stylize(half) for half in image.split(96, dim=-1)], dim=-1)
    assert (halves - stylize(image)).abs().mean() > 0.005


def test_bytes_masks_and_colours_go_through_tiles_as_well():
    stylize, image = stylizer("fast"), uneven_picture(100, 120).clamp(0, 1)
    pixels = (image * 255).round().byte()
    mask = torch.rand(1, 1, 100, 120)
    options = {"strength": 0.7, "keep_colors": True, "mask": mask}
    whole, tiled = (stylize(pixels, tile_px=px, **options) for px in (0, 32))
    assert tiled.dtype == torch.uint8
    assert (whole.int() - tiled.int()).abs().max() <= 1


def test_tiles_cover_everything_once():
    seen = torch.zeros(100, 68)
    for tile in split(100, 68, 32, 8):
        seen[tile.inner] += 1
        assert all(
            outer.start in (0, inner.start - 8) and outer.stop >= inner.stop
            for inner, outer in zip(tile.inner, tile.outer, strict=True)
        )
    assert torch.equal(seen, torch.ones(100, 68))


def test_progress_rises_to_one():
    shares: list[float] = []
    stylizer("johnson")(torch.rand(1, 3, 70, 70), tile_px=32, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_memory_does_not_grow_with_the_picture():
    code = """
import resource, sys, torch
from fst.config import FastConfig
from fst.models.model_file import describe
from fst.networks.fast import Fast
from fst.stylizing.stylizer import Stylizer
network = Fast(FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1))
stylize = Stylizer(network, describe(network), torch.device("cpu"), torch.float32)
stylize(torch.zeros(1, 3, 512, 512, dtype=torch.uint8), tile_px=256)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stylize(torch.zeros(1, 3, 2048, 4096, dtype=torch.uint8), tile_px=256)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown_kb = int(subprocess.check_output([sys.executable, "-c", code], text=True))
    picture_kb = 3 * 2048 * 4096 / 1024
    assert grown_kb < 3 * picture_kb  # the picture, its result, and some slack
