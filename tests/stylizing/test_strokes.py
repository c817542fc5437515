"""Strokes of another size, with networks whose results are known."""

from pathlib import Path

import pytest
import torch
from samples import draw_picture
from torch import Tensor

from fst.config import FastConfig
from fst.models.export_options import ExportOptions
from fst.models.model_file import describe
from fst.models.model_ref import ModelRef
from fst.networks.fast import Fast
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import luminance, read_image
from fst.stylizing.stylizer import Stylizer


class Unchanged(TransformerNetwork):
    """Gives the picture back, and keeps the sizes of what it was given."""

    def __init__(self) -> None:
        super().__init__(FastConfig())
        self.sizes: list[tuple[int, ...]] = []

    def units(self) -> list[torch.nn.Module]:
        return []

    def body(self, image: Tensor) -> Tensor:
        self.sizes.append(tuple(image.shape[-2:]))
        return image


class Stripes(Unchanged):
    """Paints stripes that are 4 px wide, whatever the picture."""

    def body(self, image: Tensor) -> Tensor:
        columns = torch.arange(image.shape[-1]) // 4 % 2
        return columns.to(image).expand_as(image)


def stylizer(network: TransformerNetwork) -> Stylizer:
    info = describe(Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1)))
    return Stylizer(network, info, torch.device("cpu"), torch.float32)


@pytest.fixture
def photo(tmp_path: Path) -> Tensor:
    return read_image(draw_picture(tmp_path / "photo.png", 5, 96, 64))


def test_details_of_the_picture_are_brought_back(photo: Tensor):
    network = Unchanged()
    result = stylizer(network)(photo, strokes=2)
    height, width = photo.shape[-2:]
    assert network.sizes == [(height // 2, width // 2)]
    lost = luminance(result - photo).abs()
    assert lost.mean() < 1 / 255  # but for what is cut at black and white
    blurred = stylizer(Unchanged())(photo, strokes=2, keep_colors=True)
    torch.testing.assert_close(luminance(blurred), luminance(result), atol=0.02, rtol=0)


@pytest.mark.parametrize("strokes", [0.5, 1, 2, 3])
def test_stripes_are_as_many_times_as_wide(strokes: float):
    grey = torch.full((1, 3, 48, 96), 0.5)
    row = stylizer(Stripes())(grey, strokes=strokes)[0, 0, 24]
    crossings = ((row[1:] > 0.5) != (row[:-1] > 0.5)).sum()
    assert crossings == 96 / (4 * strokes) - 1


def test_any_size_keeps_its_size_and_type():
    stylize = stylizer(Unchanged())
    for size in ((1, 1), (1, 7), (5, 3), (33, 47)):
        for strokes in (0.25, 1.7, 16):
            picture = torch.randint(256, (1, 3, *size), dtype=torch.uint8)
            result = stylize(picture, strokes=strokes)
            assert (result.shape, result.dtype) == (picture.shape, picture.dtype)


def test_mask_strength_and_tiles_apply(photo: Tensor):
    torch.manual_seed(0)
    stylize = stylizer(Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1)))
    mask = torch.zeros(1, 1, *photo.shape[-2:])
    assert torch.equal(stylize(photo, strokes=2, mask=mask), photo)
    whole = stylize(photo, strokes=2)
    torch.testing.assert_close(stylize(photo, strokes=2, tile_px=32), whole, atol=1e-4, rtol=0)
    torch.testing.assert_close(stylize(photo, strokes=2, strength=0.5), (photo + whole) / 2)


@pytest.mark.parametrize("strokes", [0, -1, 17, float("nan")])
def test_impossible_sizes_are_refused(strokes: float):
    with pytest.raises(ValueError, match=r"strokes=.* must be in \[0.25, 16\]"):
        stylizer(Unchanged())(torch.rand(1, 3, 8, 8), strokes=strokes)


def test_a_model_exported_for_one_size_keeps_its_strokes(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    from fst.models.export import export_model
    from fst.models.model_file import save_model
    from fst.stylizing.stylizer import load

    network = Fast(FastConfig(width=8, coarse_width=8, coarse_blocks=1))
    save_model(tmp_path / "model.safetensors", network, describe(network))
    export_model(
        ModelRef(tmp_path / "model.safetensors"),
        tmp_path / "model.onnx",
        ExportOptions(size="32x48"),
    )
    stylize = load(tmp_path / "model.onnx", "cpu")
    assert stylize.fixed_size
    assert stylize(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)
    with pytest.raises(ValueError, match=r"strokes=2: this model was exported for one size"):
        stylize(torch.rand(1, 3, 32, 48), strokes=2)
    with pytest.raises(ValueError, match="has one style: leave out :udnie"):
        load(f"{tmp_path / 'model.onnx'}:udnie", "cpu")
