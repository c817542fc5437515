"""Masks from files and of pictures in Python."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fst.errors import UserError
from fst.pictures.mask import is_black, lay_over, mask_of, opacities, read_mask, stretch


def halves(left: int, right: int, dtype: type = np.uint8) -> Image.Image:
    pixels = np.full((12, 20), left, dtype)
    pixels[:, 10:] = right
    return Image.fromarray(pixels)


def test_alpha_counts_in_a_mask(tmp_path: Path):
    white = np.full((12, 20, 4), 255, np.uint8)
    white[:, :10, 3] = 0
    white[:, 15:, 3] = 128
    Image.fromarray(white).save(tmp_path / "mask.png")
    for mask in (read_mask(tmp_path / "mask.png"), mask_of(Image.fromarray(white))):
        shown = stretch(mask, 12, 20)[0, 0, 3, [2, 12, 17]]
        assert shown.mul(255).round().tolist() == [0, 255, 128]


@pytest.mark.parametrize(
    "mask",
    [
        halves(0, 1), halves(254, 255), halves(100, 101), halves(0, 20), halves(1, 1),
        halves(0, 1, np.int32), halves(0, 1).convert("RGB"), halves(0, 1).convert("LA"),
    ],
)  # fmt: skip
def test_the_numbers_of_classes_are_no_mask(mask: Image.Image, tmp_path: Path):
    mask.save(tmp_path / "mask.tif")
    low, high = mask.convert("L").getextrema()
    with pytest.raises(UserError, match=rf"mask\.tif has values from {low} to {high} only"):
        read_mask(tmp_path / "mask.tif")
    with pytest.raises(UserError, match=r"white \(255\) is stylized"):
        mask_of(mask)


@pytest.mark.parametrize(
    ("mask", "values"),
    [
        (halves(0, 255), [0, 1]),
        (halves(0, 255).convert("1"), [0, 1]),
        (halves(0, 65535, np.uint16), [0, 1]),
        (halves(0, 1, np.float32), [0, 1]),
        (halves(255, 255), [1, 1]),
        (halves(0, 0), [0, 0]),
        (halves(51, 102), [0.2, 0.4]),
    ],
)
def test_masks_of_every_depth_are_read(mask: Image.Image, values: list[float], tmp_path: Path):
    mask.save(tmp_path / "mask.tif")
    for read in (read_mask(tmp_path / "mask.tif"), mask_of(mask)):
        shown = stretch(read, 24, 40)[0, 0, 5, [2, 37]]
        torch.testing.assert_close(shown, torch.tensor(values).float(), atol=0.002, rtol=0)
        assert is_black(read) == (values == [0, 0])


def test_a_large_mask_is_read_in_bounded_memory(tmp_path: Path):
    pytest.importorskip("resource")
    side = 4000
    Image.new("L", (side, side), 255).save(tmp_path / "mask.png", compress_level=1)
    code = (
        "import resource, sys; from pathlib import Path;"
        "from fst.pictures.mask import read_mask, stretch;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "assert stretch(read_mask(Path(sys.argv[1])), 60, 80).min() == 1;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "mask.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 10 * side * side  # of which floats alone would be 12


def test_layers_have_what_later_ones_leave():
    masks = [torch.tensor([1, 1, 0.5, 0.5, 0.3, 0]), torch.tensor([0.2, 1, 0.5, 0.7, 0.3, 0])]
    shown, above = torch.ones(3, 6), opacities([mask[None, None, None] for mask in masks])
    for number, opacity in enumerate(above, 1):  # the share of each in the result
        shown[:number] *= 1 - opacity[0, 0, 0]
        shown[number] = opacity[0, 0, 0]
    torch.testing.assert_close(shown[2], masks[1])
    torch.testing.assert_close(shown[1], torch.tensor([0.8, 0, 0.5, 0.3, 0.3, 0]))
    torch.testing.assert_close(shown[0], torch.tensor([0, 0, 0, 0, 0.4, 1.0]))
    assert opacities([]) == []


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pictures_of_many_rows_are_mixed_as_a_whole(dtype: torch.dtype):
    below, above = (torch.randint(256, (2, 3, 600, 5)).to(dtype) for _ in range(2))
    opacity = torch.rand(1, 1, 600, 5)
    opacity[..., 0], opacity[..., 1] = 0, 1
    expected = (1 - opacity) * below.float() + opacity * above.float()
    mixed = below.clone()
    lay_over(mixed, above, opacity)
    assert (mixed.float() - expected).abs().max() <= (0.501 if dtype == torch.uint8 else 1e-3)
    assert torch.equal(mixed[..., 0], below[..., 0])
    assert torch.equal(mixed[..., 1], above[..., 1])
