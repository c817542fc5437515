"""Move the colours of a trained model towards those of its paintings, as training does at its end.

python scripts/release/fit_palette.py runs/painting painting.jpg -o fitted.safetensors
python scripts/release/fit_palette.py runs/museum museum/ -o fitted.safetensors

For models that were trained without (`training.palette=0`, or before there was such a setting).
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from fst.config import PictureConfig
from fst.errors import UserError, one_line_errors
from fst.models.model import for_super_resolution
from fst.models.model_file import read_model, save_model
from fst.models.model_info import ModelInfo
from fst.models.model_ref import find_model
from fst.networks.styled import fit_palettes
from fst.networks.upscaler import Upscaler
from fst.training.style_pictures import open_styles


def main() -> None:
    """Fit one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="run folder, model file or name")
    parser.add_argument("paintings", help="the painting, or a folder with one named as each style")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--share", type=float, default=0.5, help="how far, from 0 to 1")
    given = parser.parse_args()
    with one_line_errors("fit_palette"):
        if not 0 <= given.share <= 1:
            raise UserError(f"--share={given.share} must be in [0, 1]")
        ref = find_model(given.model)
        if ref.choice:
            raise UserError(f"palettes are fitted to the whole model: leave out :{ref.choice}")
        read = read_model(ref.path)
        network, info = read.network, read.info
        if isinstance(network, Upscaler):
            raise for_super_resolution(ref.path)
        paintings = {
            style.name: style.pictures[0]
            for style in open_styles([given.paintings], PictureConfig.size_px, torch.device("cpu"))
        }
        fit_palettes(network, [[each] for each in in_order(paintings, info)], given.share)
        info.losses = {}  # they were measured with other colours
        for style in info.styles:
            style.losses = {}
        if info.has_choice:
            info.palette_share = given.share
        save_model(given.output, network, info)


def in_order(paintings: dict[str, Tensor], info: ModelInfo) -> list[Tensor]:
    """Return the painting of each style; raise UserError if one is missing, or ambiguous."""
    if not info.has_choice:
        if len(paintings) > 1:
            raise UserError(f"the model has one style: give one painting, not {len(paintings)}")
        return list(paintings.values())
    if missing := [style.name for style in info.styles if style.name not in paintings]:
        raise UserError(f"there is no painting of the style {missing[0]}")
    return [paintings[style.name] for style in info.styles]


if __name__ == "__main__":
    main()
