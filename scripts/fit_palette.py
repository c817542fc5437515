"""Move the colours of a trained model towards those of its paintings, as training does at its end.

python scripts/fit_palette.py runs/painting painting.jpg -o fitted.safetensors
python scripts/fit_palette.py runs/museum museum/ -o fitted.safetensors

For models that were trained without (`training.palette=0`, or before there was such a setting).
"""

import argparse
import dataclasses
from pathlib import Path

import torch

from fst.config import PictureConfig
from fst.errors import UserError, one_line_errors
from fst.models.model_file import find_model, load_network, save_model
from fst.networks.palette import apply_palette, fit_palette
from fst.networks.styled import StyledNetwork
from fst.networks.transformer import TransformerNetwork
from fst.training.styles import open_styles


def main() -> None:
    """Fit one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="run folder, model file or name")
    parser.add_argument("paintings", help="the painting, or a folder with one named as each style")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--share", type=float, default=0.5)
    given = parser.parse_args()
    with one_line_errors("fit_palette"):
        network, info = load_network(find_model(given.model))
        paintings = {
            style.name: style.picture
            for style in open_styles([given.paintings], PictureConfig.size_px, torch.device("cpu"))
        }
        if isinstance(network, TransformerNetwork):
            (painting,) = paintings.values()
            apply_palette(network, fit_palette(network, painting, given.share))
        elif isinstance(network, StyledNetwork):
            for number, style in enumerate(info.styles):
                if style.name not in paintings:
                    raise UserError(f"{given.paintings} has no picture of the style {style.name}")
                network.fit_palette(number, paintings[style.name], given.share)
                style.losses = {}  # are those of other colours
            info.palette = given.share
        save_model(given.output, network, dataclasses.replace(info, losses={}))


if __name__ == "__main__":
    main()
