"""Blend two styles of a model in steps: losses to both, and a sheet; prints a Markdown table.

    python scripts/measure/blend.py MODEL FIRST SECOND --photographs DIR --weights FILE -o blend.jpg

FIRST and SECOND are styles of the model, whose pictures are those that its file names, or lie in
--pictures under their names. Losses are the style terms of the default loss under VGG16.
"""

import argparse
from pathlib import Path

import torch

from fst.config import MomentsLossConfig, Vgg16Config
from fst.data.heldout import read_squares
from fst.losses.loss_network import load_loss_network
from fst.losses.objective import mean_terms, towards
from fst.losses.relative import MomentsLoss
from fst.models.model_file import open_model
from fst.models.model_info import read_info
from fst.models.model_ref import find_model
from fst.pictures.image import read_image, resize, to_unit_range, write_image
from fst.pictures.sheet import labelled_sheet
from fst.report import table

STYLE_PX = 448
QUALITY = 88  # of the sheet


def main() -> None:
    """Measure each step, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, help="folder of the paintings")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("-o", "--output", type=Path, default=Path("blend.jpg"))
    given = parser.parse_args()
    config = MomentsLossConfig()
    layers = {config.content_layer, *config.style_layers}
    vgg16 = load_loss_network(Vgg16Config(weights=str(given.weights), padding="reflect"), layers)
    known = {s.name: Path(s.picture) for s in read_info(find_model(given.model).path)[0].styles}
    losses = []
    for name in (given.first, given.second):
        path = given.pictures / known[name].name if given.pictures else known[name]
        losses.append(towards(MomentsLoss(vgg16, config), resize(read_image(path), STYLE_PX)))
    photographs = to_unit_range(read_squares(given.photographs, given.images, given.size)[0])
    rows, columns, names = [], [], []
    for step in range(given.steps):
        share = step / (given.steps - 1)
        choice = f"{given.first}={1 - share:g},{given.second}={share:g}"
        network = open_model(find_model(f"{given.model}:{choice}")).network
        with torch.no_grad():
            stylized = torch.cat([network(picture[None]) for picture in photographs])
        terms = [mean_terms(loss, stylized, photographs) for loss in losses]
        rows.append([choice, *(f"{each['style']:.3f}" for each in terms)])
        columns.append(list(torch.split(stylized, 1)))
        names.append(f"{1 - share:.0%} {given.first}")
    print(*table(["blend", f"to {given.first}", f"to {given.second}"], rows), sep="\n")
    by_photograph = [list(pictures) for pictures in zip(*columns, strict=True)]
    write_image(labelled_sheet(names, by_photograph), given.output, QUALITY)
    print(given.output)


if __name__ == "__main__":
    main()
