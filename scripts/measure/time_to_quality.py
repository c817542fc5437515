r"""Measure how soon a training reaches which quality, by Gram matrices and by the quick recipe.

python scripts/measure/time_to_quality.py painting.jpg ... --photographs photographs/ \
    --heldout heldout/ --weights vgg16.safetensors -o curves/

Both are judged alike while they train: by the default loss under VGG16, on held-out photographs.
Seconds are those that one core computes steps, whatever else the machine does. An interrupted
command continues when it is run again. It writes `curves.png`, and prints a table.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from fst.cli.train import compose_training
from fst.config import MomentsLossConfig, Vgg16Config
from fst.data.heldout import read_squares
from fst.errors import one_line_errors
from fst.losses.loss_network import load_loss_network
from fst.losses.objective import Objective, mean_terms, towards
from fst.losses.relative import MomentsLoss
from fst.measuring.quality import LAYERS
from fst.pictures.image import read_image, resize, to_unit_range
from fst.report import table
from fst.training.distributed import World
from fst.training.run import Run
from fst.training.stopping import StopRequest
from fst.training.style import StyleTask
from fst.training.tracking import Tracker

STYLE_PX = 448
RECIPES = {
    "gram": ["experiment=quick", "init=null", "loss=relative", "training.save_every=200"],
    "now": ["experiment=quick", "training.save_every=100"],
}


def main() -> None:
    """Train what is not trained yet, draw the curves, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("styles", type=Path, nargs="+")
    parser.add_argument("--photographs", type=Path, required=True)
    parser.add_argument("--heldout", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=8, help="held-out photographs, of 256 px")
    parser.add_argument("-o", "--output", type=Path, default=Path("curves"))
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--overrides", nargs="*", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with one_line_errors("time_to_quality"):
        curves = {
            style.stem: {recipe: curve(given, style, recipe) for recipe in given.recipes}
            for style in given.styles
        }
    draw(curves, given.output / "curves.png")
    rows = [
        [style, recipe, f"{seconds:.0f}", f"{loss:.3f}"]
        for style, by_recipe in curves.items()
        for recipe, points in by_recipe.items()
        for seconds, loss in points[-1:]
    ]
    print(*table(["style", "recipe", "seconds", "held-out loss"], rows), sep="\n")


class Judged(Run):
    """A run that is judged by the default loss under VGG16, whatever it is trained by."""

    def judge_by(self, loss: Objective, photographs: torch.Tensor) -> None:
        """Set the judge."""
        self.judge_loss, self.photographs = loss, photographs
        self.curve = self.folder.path / "curve.jsonl"
        earlier = self.curve.read_text(encoding="utf-8").splitlines() if self.curve.exists() else []
        self.computed = json.loads(earlier[-1])["seconds"] if earlier else 0.0

    def step(self, images: torch.Tensor) -> None:
        """Also count the seconds computed."""
        began = time.process_time()
        super().step(images)
        self.computed += time.process_time() - began

    @torch.no_grad()
    def validate(self, tracker: Tracker) -> dict[str, float]:
        """Also append the seconds computed and the loss to `curve.jsonl`."""
        terms = super().validate(tracker)
        model = self.task.model()
        stylized = torch.cat([model(picture[None]) for picture in self.photographs])
        loss = mean_terms(self.judge_loss, stylized, self.photographs)
        with self.curve.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"seconds": self.computed, **loss}) + "\n")
        return terms


def curve(given: argparse.Namespace, style: Path, recipe: str) -> list[tuple[float, float]]:
    """Train a style with a recipe, or continue; return seconds and held-out losses."""
    overrides = [
        f"style={style}", *RECIPES[recipe], f"data.path={given.photographs}",
        f"name={style.stem}/{recipe}", f"runs_dir={given.output}", *given.overrides,
    ]  # fmt: skip
    network = load_loss_network(Vgg16Config(weights=str(given.weights)), LAYERS)
    picture = resize(read_image(style), STYLE_PX)
    loss = towards(MomentsLoss(network, MomentsLossConfig()), picture)
    photographs = to_unit_range(read_squares(given.heldout, given.images, 256)[0])
    run = Judged(StyleTask, compose_training(overrides), World(), torch.device("cpu"))
    run.judge_by(loss, photographs)
    with StopRequest() as stop:
        if run.run(stop, console=True):
            raise KeyboardInterrupt
    lines = run.curve.read_text(encoding="utf-8").splitlines()
    points = {entry["seconds"]: entry["total"] for entry in map(json.loads, lines)}
    return sorted(points.items())


def draw(curves: dict[str, dict[str, list[tuple[float, float]]]], path: Path) -> None:
    """Draw a panel a style."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3.5), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for panel, (style, by_recipe) in zip(panels, curves.items(), strict=True):
        for recipe, points in by_recipe.items():
            panel.plot(*zip(*points, strict=True), marker=".", label=recipe)
        panel.set(title=style, xlabel="seconds of one core", ylabel="held-out loss (VGG16)")
        panel.set_yscale("log")
        panel.legend()
    figure.savefig(path, dpi=120)
    print(path)


if __name__ == "__main__":
    main()
