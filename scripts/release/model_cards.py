r"""Write docs/reference/model-cards.md: a card for each released model, with its sheet.

for name in starry_night the_scream; do
    fst evaluate $name --style paintings/$name.jpg --photographs heldout/ --weights vgg16.pth \
        --curves 256 --images 2 --iterations 60 --sizes 512 --output evaluation/$name
done
fst evaluate-upscaler upscale_x4 upscale_x4_pixel --photographs Set5 --photographs Set14 \
    --output evaluation/upscaling
python scripts/release/model_cards.py evaluation/

What a card says comes from the model file and from the evaluation of its name. Without an
evaluation in the folder, the card of an upscaler stays as it is, and so does one that is of the
present file; others say what the file says.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gallery import PHOTOGRAPHS, QUALITY, photograph, shrink

import fst
from fst.config import FastConfig
from fst.models.model_info import ModelInfo, read_info
from fst.models.released import ReleasedModel, released_models, released_path
from fst.pictures.image import write_image
from fst.pictures.sheet import labelled_sheet

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "model-cards.md"
SHEETS = ROOT / "docs" / "assets" / "models"
COLUMNS = 5
"""Pictures in a row of the sheet of a model of several styles."""
SETTINGS = (
    "loss_network", "init", "style.size_px", "loss.content_target",
    "optimizer.learning_rate", "training.images", "training.batch_size", "training.precision",
)  # fmt: skip
"""What a training command names; a group by its name."""
HEADER = """# Model cards

Written by `scripts/release/model_cards.py` from the model files and `fst evaluate`. The weights are
licensed under CC BY 4.0. The photographs of the training are research data and not redistributed.
Distances are relative (0 is a perfect match), under VGG16, on photographs that were not trained on.
Seconds are of one 512x512 picture in fp32 on the machine of the evaluation. A card without
distances is of a model that was not evaluated since its last training;
[Measurements](../measurements.md#picture-quality) has some of them. [Released
models](../released-models.md#how-they-were-trained) says what came before that training.
"""


def main() -> None:
    """Write the page and the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluations", type=Path, help="a folder of `fst evaluate`'s, by name")
    given = parser.parse_args()
    earlier = {
        text.split("\n", 1)[0]: text for text in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
    }
    cards = [HEADER]
    for model in released_models():
        folder, file = (
            ("upscaling", "upscaling.json") if model.enlarges else (model.name, "evaluation.json")
        )
        evaluated = given.evaluations / folder / file
        if model.styles or model.takes_any:
            cards.append(card_of_several(model))
            write_sheet_of_several(model)
            continue
        report = json.loads(evaluated.read_text(encoding="utf-8")) if evaluated.exists() else None
        current = model.enlarges or all(row in earlier[model.name] for row in table(of_file(model)))
        if report is None and current:
            cards.append(f"## {earlier[model.name].rstrip()}\n")
        elif model.enlarges:
            cards.append(card_of_upscaler(model, report))
        else:
            cards.append(card(model, report))
            write_sheet(model.name)
    PAGE.write_text("\n".join(cards), encoding="utf-8")
    print(PAGE)


def card(model: ReleasedModel, report: dict[str, Any] | None) -> str:
    """Return the card of a model as Markdown, given what `fst evaluate` wrote, if anything."""
    info, _ = read_info(released_path(model.name))
    losses, judged = info.losses, {}
    if report is not None:
        (evaluation,) = report["evaluations"]
        losses = {name.removeprefix("heldout/"): n for name, n in evaluation["terms"].items()}
        judged = of_evaluation(evaluation, report["iterations"])
    terms = ("content", "style", "light", "total_variation")
    shown = ", ".join(f"{name} {losses[name]:.3f}" for name in terms if name in losses)
    facts = of_file(model) | ({"held-out terms": f"{shown}, of the default loss"} if shown else {})
    facts |= judged | {
        "does well and badly": info.card["note"],
        "licence": f"{model.licence} (weights)",
    }
    sheet = f"![Photographs stylized by {model.name}](../assets/models/{model.name}.jpg)"
    return "\n".join([f"## {model.name}\n\n{sheet}\n\n| | |\n|---|---|", *table(facts), ""])


def table(facts: dict[str, str]) -> list[str]:
    """Return the rows of a card."""
    return [f"| {name} | {fact} |" for name, fact in facts.items()]


def of_file(model: ReleasedModel) -> dict[str, str]:
    """Return what the file of a model of one style says about its training."""
    info, _ = read_info(released_path(model.name))
    return {
        "painting": f"{model.artist}, *{model.title}*, {model.year}; {info.card['rights']}",
        "network": f"`{model.network}`, {model.parameters:,} parameters, "
        f"{model.size_bytes / 1e6:.2f} MB",
        "last training": f"`{command(info)}`",
        "images seen in it": f"{info.seen_images:,}",
    }


def of_evaluation(evaluation: dict[str, Any], iterations: int) -> dict[str, str]:
    """Return what `fst evaluate` found."""
    quality, artefacts = evaluation["quality"], evaluation["artefacts"]
    return {
        "distance to the style": f"Gram {quality['gram']:.3f}, covariance "
        f"{quality['covariance']:.3f}, sliced Wasserstein {quality['wasserstein']:.3f}",
        "distance to the photograph": f"content {quality['content']:.2f}, structure "
        f"{quality['structure']:.2f}, light {quality['light']:.2f}",
        "iterations of L-BFGS equalled": equal_iterations(evaluation, iterations),
        "artefacts": f"grid {artefacts['grid_ratio']:.1f} times its surroundings "
        f"({artefacts['grid_levels']:.1f} of 255 levels), border contrast "
        f"{artefacts['border_contrast']:.2f}, blown values {artefacts['blown_share']:.1%}",
        "seconds": f"{evaluation['speeds'][0]['network_seconds']:.3f}",
    }


def card_of_several(model: ReleasedModel) -> str:
    """Return the card of a model of several styles as Markdown, from its file alone."""
    info, _ = read_info(released_path(model.name))
    facts = {
        "network": f"`{model.network}`, {model.parameters:,} parameters, "
        f"{model.size_bytes / 1e6:.2f} MB",
        "training": f"`{command(info)}`",
        "images seen": f"{info.seen_images:,}, of all styles together"
        + (" in the last training, and 200 for each that is named" if model.takes_any else ""),
        "does well and badly": info.card["note"],
        "licence": f"{model.licence} (weights)",
    }
    rows = [f"| {name} | {fact} |" for name, fact in facts.items()]
    for style in info.styles:
        painting = f"{style.card['artist']}, *{style.card['title']}*, {style.card['year']}"
        judged = "last" if model.takes_any else "held-out"  # by `fst learn`, or by training
        total = f"; {judged} loss {style.losses['total']:.2f}" if style.losses else ""
        rows.append(f"| `{model.name}:{style.name}` | {painting}; {style.card['rights']}{total} |")
    sheet = f"![A photograph in every style of {model.name}](../assets/models/{model.name}.jpg)"
    return f"## {model.name}\n\n{sheet}\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"


def card_of_upscaler(model: ReleasedModel, scores: Any) -> str:
    """Return the card of a model for super-resolution, given what `fst evaluate-upscaler` wrote."""
    info, _ = read_info(released_path(model.name))
    config = info.training_config
    init = [f"init={config['init']}"] if config["init"] else []
    settings = (
        "network.factor", "data.crop_px", "optimizer.learning_rate",
        "training.images", "training.batch_size", "training.ema_half_life",
    )  # fmt: skip
    values = [f"{key}={config[key.partition('.')[0]][key.partition('.')[2]]}" for key in settings]
    chosen = [f"loss={config['loss']['name']}", *init, *values]
    training = " ".join(["fst train-upscaler data.path=photographs/", *chosen])
    facts = {
        "network": f"`{model.network}`, {model.parameters:,} parameters, "
        f"{model.size_bytes / 1e6:.2f} MB",
        "training": f"`{training}`",
        "images seen": f"{info.seen_images:,}",
    }
    for score in scores:
        if score["model"] in ("bicubic", model.name):
            facts[f"{score['model']} on {score['folder']}"] = (
                f"PSNR {score['psnr']:.2f} dB, SSIM {score['ssim']:.4f}, GMSD "
                f"{score['gmsd']:.4f}, colour {score['colour']:.2f} of 255 levels"
            )
    facts |= {"does well and badly": info.card["note"], "licence": f"{model.licence} (weights)"}
    rows = "\n".join(f"| {name} | {fact} |" for name, fact in facts.items())
    return f"## {model.name}\n\n| | |\n|---|---|\n{rows}\n"


def command(info: ModelInfo) -> str:
    """Return the command of the model's last training, its folders left out."""
    config = info.training_config
    if info.predictor_px:
        style = "any=paintings/"
    else:
        style = "styles=paintings/" if info.styles else f"style={config['style']['picture']}"
    settings = [f"fst train {style} data.path=photographs/"]
    standard = dataclasses.asdict(FastConfig())
    settings += [
        f"network.{key}={value}"
        for key, value in config["network"].items()
        if value != standard.get(key, value)  # a retired setting has one value
    ]
    for key in SETTINGS:
        group, _, name = key.partition(".")
        value = config[group][name] if name else config[group]
        settings.append(f"{key}={value['name'] if isinstance(value, dict) else value}")
    return " ".join(settings).replace("=None", "=null")


def equal_iterations(evaluation: dict[str, Any], iterations: int) -> str:
    """Return after how many iterations L-BFGS from noise is as good, by size of picture."""
    counts = evaluation["equal_iterations"].items()
    return ", ".join(
        f"{f'more than {iterations}' if count is None else count} at {px} px"
        for px, count in counts
    )


def write_sheet_of_several(model: ReleasedModel) -> None:
    """Write a photograph in every style of a model, in rows of `COLUMNS`."""
    picture = photograph("chelsea.png")
    results = [shrink(fst.load(f"{model.name}:{style}")(picture)) for style in model.styles]
    names, pictures = ["photograph", *model.styles], [shrink(picture), *results]
    bands = [
        labelled_sheet(names[i : i + COLUMNS], [pictures[i : i + COLUMNS]])
        for i in range(0, len(names), COLUMNS)
    ]
    width = max(band.shape[-1] for band in bands)
    padded = [F.pad(band, (0, width - band.shape[-1]), value=1.0) for band in bands]
    write_image(torch.cat(padded, 2), SHEETS / f"{model.name}.jpg", QUALITY)


def write_sheet(name: str) -> None:
    """Write the photographs of the gallery and what the model makes of them."""
    pictures = [photograph(each) for each in PHOTOGRAPHS]
    stylize = fst.load(name)
    rows = [
        [shrink(picture) for picture in pictures],
        [shrink(stylize(picture)) for picture in pictures],
    ]
    write_image(labelled_sheet([""] * len(pictures), rows), SHEETS / f"{name}.jpg", QUALITY)


if __name__ == "__main__":
    main()
