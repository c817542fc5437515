"""The gallery: photographs that may be redistributed, in every released style, as one sheet.

python scripts/release/gallery.py [NAME ...]    # writes docs/assets/gallery.jpg

Without names: the smallest model of each painting that has one of its own.

The photographs are scikit-image's: a rocket (SpaceX, public domain), a cat (S. van der Walt, CC0),
an astronaut (NASA, public domain), a cup of coffee (R. Michel, CC0).
"""

import sys
from importlib import resources
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

import fst
from fst.models.released import released_models
from fst.pictures.image import read_image, resize, write_image
from fst.pictures.sheet import labelled_sheet

SHEET = Path(__file__).parents[2] / "docs" / "assets" / "gallery.jpg"
PHOTOGRAPHS = ("rocket.jpg", "chelsea.png", "astronaut.png", "coffee.png")
SHAPE = (240, 240)
QUALITY = 88
"""Of the JPEG files: pages load in half the time of `write_image`'s own, and look the same."""
STYLIZED_PX = 512
"""Shorter side at which a photograph is stylized, before it is shrunk for the sheet."""


def photograph(name: str) -> Tensor:
    """Return a photograph (1, 3, H, W) in [0, 1], cut from the middle to the shape of the sheet."""
    with resources.as_file(resources.files("skimage.data") / name) as path:
        image = resize(read_image(path), STYLIZED_PX)
    height, width = image.shape[-2:]
    cut = min(height, width * SHAPE[0] // SHAPE[1])
    across = cut * SHAPE[1] // SHAPE[0]
    top, left = (height - cut) // 2, (width - across) // 2
    return image[..., top : top + cut, left : left + across]


def shrink(picture: Tensor) -> Tensor:
    """Return the picture in the size that it has in the sheet."""
    return F.interpolate(picture, SHAPE, mode="bicubic", antialias=True).clamp(0, 1)


def main() -> None:
    """Write the sheet of the models named, or of the smallest of each painting."""
    of_one_style = [m for m in released_models() if not (m.styles or m.enlarges)]
    largest_first = sorted(of_one_style, key=lambda model: -model.size_bytes)
    smallest = {model.title: model.name for model in largest_first}.values()
    chosen = sys.argv[1:] or sorted(smallest)
    pictures = [photograph(name) for name in PHOTOGRAPHS]
    rows = [[shrink(picture) for picture in pictures]]
    for name in chosen:
        stylize = fst.load(name)
        rows.append([shrink(stylize(picture)) for picture in pictures])
    names = ["photograph", *chosen]
    by_photograph = [list(pictures) for pictures in zip(*rows, strict=True)]
    write_image(labelled_sheet(names, by_photograph), SHEET, QUALITY)
    print(SHEET)


if __name__ == "__main__":
    main()
