"""Measure picture quality of models (`fst.measuring.quality`, faces); prints a Markdown table.

    python scripts/measure/quality.py MODEL... --style PICTURE --photographs DIR --weights VGG16

Models are whatever `fst stylize` takes, and the state dicts of other projects. The style picture is
scaled to the photographs' side unless --style-size says otherwise, so that models trained with
different style sizes are measured against the same target.
"""

import argparse
import time
from dataclasses import asdict, fields
from pathlib import Path

import torch

import fst
from fst.config import Vgg16Config
from fst.data.heldout import read_squares
from fst.losses.loss_network import load_loss_network
from fst.measuring.faces import count_faces
from fst.measuring.quality import LAYERS, Quality, measure_quality
from fst.pictures.image import read_image, resize, to_unit_range


def main() -> None:
    """Measure the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="VGG16; otherwise the cache or a download")
    parser.add_argument("--size", type=int, default=384, help="side of the photographs, in pixels")
    parser.add_argument("--style-size", type=int, help="shorter side of the style, in pixels")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    stylizers = [fst.load(model, given.device, "fp32") for model in given.models]
    device = stylizers[0].device
    config = Vgg16Config(weights=given.weights and str(given.weights))
    network = load_loss_network(config, LAYERS).to(device)
    pictures, _ = read_squares(given.photographs, given.images, given.size)
    contents = to_unit_range(pictures.to(device))
    style = resize(read_image(given.style), given.style_size or given.size).to(device)

    names = [field.name for field in fields(Quality)]
    print("| model | " + " | ".join(names) + " | faces kept | s a picture |")
    print("|---|" + "---|" * (len(names) + 2), flush=True)
    for model, stylizer in zip(given.models, stylizers, strict=True):
        started = time.perf_counter()
        stylized = torch.cat([stylizer(content) for content in torch.split(contents, 1)])
        seconds = (time.perf_counter() - started) / len(contents)
        quality = asdict(measure_quality(network, contents, stylized, style))
        pairs = zip(torch.split(contents, 1), torch.split(stylized, 1), strict=True)
        faces = count_faces(pairs)
        cells = [*(f"{value:.4f}" for value in quality.values()), str(faces)]
        print(f"| {model} | " + " | ".join(cells) + f" | {seconds:.3f} |", flush=True)


if __name__ == "__main__":
    main()
