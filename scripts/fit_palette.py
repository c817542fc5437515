"""Move the colours of a trained model towards its painting's, as training does at its end.

python scripts/fit_palette.py runs/painting painting.jpg photographs/ -o fitted.safetensors

For models that were trained without (`training.palette=0`, or before there was such a setting).
"""

import argparse
import dataclasses
from pathlib import Path

from fst.errors import one_line_errors
from fst.models.model_file import open_model, save_model
from fst.pictures.image import read_image, resize, to_unit_range
from fst.training.heldout import squared_pictures
from fst.training.palette import PICTURES, fit_palette

CROP_PX = 256


def main() -> None:
    """Fit one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="run folder, model file or name")
    parser.add_argument("style", type=Path, help="the painting")
    parser.add_argument("photographs", type=Path, help="a folder of them")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--style-size", type=int, default=448, help="its shorter side, in pixels")
    given = parser.parse_args()
    with one_line_errors("fit_palette"):
        network, info = open_model(given.model)
        pictures, _ = squared_pictures(given.photographs, PICTURES, CROP_PX)
        style = resize(read_image(given.style), given.style_size)
        fit_palette(network.float().eval(), to_unit_range(pictures), style, given.share)
        # The held-out losses are those of other colours.
        save_model(given.output, network, dataclasses.replace(info, losses={}))


if __name__ == "__main__":
    main()
