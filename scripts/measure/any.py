"""Measure predicted styles on paintings that training has not seen; prints Markdown tables.

    python scripts/measure/any.py predict MODEL PAINTINGS --photographs DIR --weights FILE
        [--learnt LEARNT] [--singles RUNS] -o any.jpg
    python scripts/measure/any.py knobs MODEL PAINTINGS --photographs DIR --weights FILE
        -o knobs.jpg

`predict` judges MODEL:PAINTING by the default loss under VGG16, beside the unchanged photographs,
and beside LEARNT (what `fst learn MODEL PAINTINGS` wrote) and runs of one style, RUNS/NAME, where
there are such. `knobs` turns strength and strokes, and measures style term and texture.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch
from rank_correlation import spearman
from torch import Tensor

import fst
from fst.config import AnyStyleConfig, MomentsLossConfig, Vgg16Config
from fst.data.heldout import read_squares
from fst.losses.loss_network import load_loss_network
from fst.losses.objective import Objective, mean_terms, towards
from fst.losses.relative import MomentsLoss
from fst.pictures.image import (
    luminance,
    middle_square,
    read_image,
    resize,
    to_unit_range,
    write_image,
)
from fst.pictures.sheet import labelled_sheet
from fst.report import table

STRENGTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
STROKES = (0.5, 2**-0.5, 1.0, 2**0.5, 2.0)
SHOWN = 4
Judged: TypeAlias = list[tuple[Path, Objective]]
"""Paintings, and the default loss under VGG16 of each."""


def main() -> None:
    """Measure what is asked for, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("predict", "knobs"))
    parser.add_argument("model")
    parser.add_argument("paintings", type=Path)
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--learnt")
    parser.add_argument("--singles", type=Path)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    photographs = to_unit_range(read_squares(given.photographs, given.images, given.size)[0])
    paintings = sorted(given.paintings.iterdir())
    config = MomentsLossConfig()
    layers = {config.content_layer, *config.style_layers}
    vgg16 = load_loss_network(Vgg16Config(weights=str(given.weights), padding="reflect"), layers)
    side = AnyStyleConfig.size_px
    judges = (
        towards(MomentsLoss(vgg16, config), resize(read_image(each), side)) for each in paintings
    )
    measure = {"predict": compare_ways, "knobs": knobs}[given.what]
    measure(given, list(zip(paintings, judges, strict=True)), photographs)
    print(given.output)


def compare_ways(given: argparse.Namespace, paintings: Judged, photographs: Tensor) -> None:
    """Print the total loss of each painting by each way to its style."""
    rows, sheet, seconds = [], [], []
    for painting, judge in paintings:
        started = time.perf_counter()
        ways: dict[str, Callable[[Tensor], Tensor]] = {"predicted": load(given.model, painting)}
        seconds.append(time.perf_counter() - started)
        if given.learnt:
            ways["learnt"] = fst.load(f"{given.learnt}:{painting.stem}", dtype="fp32")
        single = given.singles and given.singles / painting.stem
        if single and (single / "model.safetensors").exists():
            ways["one style"] = fst.load(single, dtype="fp32")
        results = {"photograph": photographs}
        for name, stylize in ways.items():
            results[name] = torch.cat([stylize(x[None]) for x in photographs])
        found = {name: mean_terms(judge, y, photographs) for name, y in results.items()}
        rows.append(
            [
                painting.stem.replace("_", " "),
                *(
                    f"{found[way]['total']:.2f} ({found[way]['content']:.2f}, "
                    f"{found[way]['style']:.3f})"
                    if way in found
                    else ""
                    for way in ("photograph", "predicted", "learnt", "one style")
                ),
            ]
        )
        print("|", " | ".join(rows[-1]), "|", flush=True)
        shown = [square(read_image(painting), given.size)]
        for way, count in (("predicted", SHOWN), ("learnt", 2), ("one style", 2)):
            if way in results:
                shown += torch.split(results[way][:count], 1)
        sheet.append((painting.stem, shown))
    heads = ["painting", "photograph", "predicted", "learnt", "one style"]
    print(*table(heads, rows), sep="\n")
    print(f"median of {len(seconds)} loadings with the style's prediction: ", end="")
    print(f"{1000 * statistics.median(seconds):.0f} ms")
    width = max(len(shown) for _, shown in sheet)
    whole = [(name, shown) for name, shown in sheet if len(shown) == width]
    columns = ["painting"] + ["predicted"] * SHOWN
    columns += ["learnt"] * 2 * bool(given.learnt) + ["one style"] * 2
    write_image(
        labelled_sheet(columns[:width], [s for _, s in whole], [name for name, _ in whole]),
        given.output,
    )


def knobs(given: argparse.Namespace, paintings: Judged, photographs: Tensor) -> None:
    """Print how style term and texture follow the knobs."""
    rows, sheet = [], []
    for painting, judge in paintings:
        stylize = load(given.model, painting)
        by_strength = [stylize_each(stylize, photographs, s, 1.0) for s in STRENGTHS]
        by_strokes = [stylize_each(stylize, photographs, 1.0, s) for s in STROKES]
        styles = [mean_terms(judge, y, photographs)["style"] for y in by_strength]
        lengths = [correlation_length(y - photographs) for y in by_strokes]
        rows.append(
            [
                painting.stem.replace("_", " "),
                " ".join(f"{style:.3f}" for style in styles),
                f"{spearman(torch.tensor(STRENGTHS), -torch.tensor(styles)):.2f}",
                " ".join(f"{length:.1f}" for length in lengths),
                f"{lengths[-1] / lengths[0]:.2f}",
            ]
        )
        print("|", " | ".join(rows[-1]), "|", flush=True)
        own = square(read_image(painting), given.size)
        sheet.append([own, *(y[:1] for y in by_strength), *(y[:1] for y in by_strokes)])
    heads = ["painting", "style by strength", "rank correlation", "texture, px", "ratio"]
    print(*table(heads, rows), sep="\n")
    columns = ["painting", *(f"strength {s:g}" for s in STRENGTHS)]
    columns += [f"strokes {s:.2g}" for s in STROKES]
    write_image(labelled_sheet(columns, sheet), given.output)


def load(model: str, painting: Path) -> fst.Stylizer:
    """Return a model in the style that it predicts for a painting."""
    return fst.load(f"{model}:{painting}", dtype="fp32")


def stylize_each(
    stylize: fst.Stylizer, photographs: Tensor, strength: float, strokes: float
) -> Tensor:
    """Return the photographs stylized one by one."""
    return torch.cat([stylize(x[None], strength=strength, strokes=strokes) for x in photographs])


def square(picture: Tensor, side: int) -> Tensor:
    """Return the middle of a picture, (1, 3, side, side)."""
    return middle_square(resize(picture, side))


def correlation_length(pictures: Tensor) -> float:
    """Return at how many pixels the autocorrelation of the luminance falls to 1/e."""
    grey = luminance(pictures)
    grey = grey - grey.mean((2, 3), keepdim=True)
    height, width = grey.shape[-2:]
    spectrum = torch.fft.rfft2(grey, s=(2 * height, 2 * width)).abs().square()
    correlation = torch.fft.irfft2(spectrum, s=(2 * height, 2 * width)).mean((0, 1))
    overlap = torch.arange(height, 0, -1) / height  # of the picture with itself, moved
    profile = (correlation[0, :width] + correlation[:height, 0]) / 2 / overlap
    profile = profile / profile[0]
    below = int((profile < 1 / torch.e).nonzero()[0])
    high, low = profile[below - 1], profile[below]
    return below - 1 + float((high - 1 / torch.e) / (high - low))


if __name__ == "__main__":
    main()
