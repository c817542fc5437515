"""Make every mistake of docs/reference/mistakes.md and print that page with what fst says.

python scripts/bad_input_table.py PICTURE PHOTOGRAPHS > docs/reference/mistakes.md
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

FST = [sys.executable, "-m", "fst.cli"]
MISTAKES = [
    ("misspelt key", "train {run} network.widht=3"),
    ("key that does not exist", "train {run} +extra=1"),
    ("wrong type", "train {run} network.width=wide"),
    ("impossible value", "train {run} data.crop_px=-5"),
    ("unknown layer", "train {run} loss.style_layers=[relu9_9]"),
    ("unknown choice", "train {run} network=vast"),
    ("unknown experiment", "train {run} experiment=qick"),
    ("list of values without -m", "train {run} loss.style_weight=2,5"),
    ("invalid syntax", "train {run} loss.style_layers=[relu1_2"),
    ("no style picture given", "train data.path={photos}"),
    ("style picture missing", "train style=missing.jpg data.path={photos}"),
    ("style picture damaged", "train style=text.jpg data.path={photos} {weights}"),
    ("no photographs given", "train style={style}"),
    ("folder of photographs missing", "train style={style} data.path=missing"),
    ("folder of photographs empty", "train style={style} data.path=empty"),
    ("weights missing", "train {run} loss_network.weights=missing.pth"),
    ("not a weights file", "train {run} loss_network.weights=text.jpg"),
    ("weights of another network", "train {run} {weights}"),
    ("no weights and no internet access", "train {run}"),
    (
        "loss layer missing from the small loss network",
        "train {run} loss_network=slim loss=johnson",
    ),
    ("init: model missing", "train {run} loss_network=slim init=nowhere"),
    ("init: another architecture", "train {run} loss_network=slim init={model} network.width=8"),
    ("device not available", "train {run} training.device=cuda:9"),
    ("run folder holds another configuration", "train {run} name=taken"),
    ("model missing", "stylize nowhere {style} -o out.png"),
    ("model damaged", "stylize cut.safetensors {style} -o out.png"),
    ("exported model damaged", "stylize cut.onnx {style} -o out.png"),
    ("exported package damaged", "stylize cut.pt2 {style} -o out.png"),
    ("ONNX model from elsewhere", "stylize foreign.onnx {style} -o out.png"),
    ("precision for an exported model", "stylize model.onnx {style} -o out.png --dtype bf16"),
    ("optimize: result exists", "optimize {picture} output=style.jpg"),
    ("optimize: wrong number of shares", "optimize {picture} style_shares=[1,2]"),
    ("optimize: larger than memory", "optimize {picture} loss_network=slim size_px=50000"),
    ("optimize: init missing", "optimize {picture} loss_network=slim init=nowhere"),
    ("compare: no models given", "compare"),
    ("compare: folder without a model", "compare empty"),
    ("compare: photographs unknown", "compare {model}"),
    ("evaluate: style picture unknown", "evaluate {model} --photographs photos"),
    ("evaluate: invalid size", "evaluate {model} --photographs photos --sizes big"),
    ("export: unknown format", "export {model} -o out.tflite"),
    ("export: file exists", "export {model} -o model.onnx"),
    ("benchmark: unknown engine", "benchmark --engines warp"),
    ("picture missing", "stylize {model} missing.jpg -o out.png"),
    ("picture damaged", "stylize {model} text.jpg -o out.png"),
    ("some pictures damaged", "stylize {model} {style} text.jpg -o out"),
    ("result would replace its own picture", "stylize {model} {style} -o {style}"),
    ("several results but one output file", "stylize {model} {style} text.jpg -o out.png"),
    ("unknown device", "stylize {model} {style} -o out.png --device banana"),
    ("video damaged", "stylize {model} fake.mp4 -o out.mp4"),
    ("camera missing", "webcam {model} --camera 9 --headless --frames 1"),
    ("unknown output format", "stylize {model} {style} -o out.xyz"),
    ("no output given", "stylize {model} {style}"),
    ("unknown flag", "stylize {model} {style} -o out.png --colour"),
    ("unknown command", "paint {style}"),
]
PAGE = """\
# Mistakes

<!-- Generated: python scripts/bad_input_table.py PICTURE PHOTOGRAPHS > docs/reference/mistakes.md -->

Each mistake is reported in one line on stderr, which starts with the command's name, and ends with
exit status 2; 1 means that some of several files failed. Nothing is lost or half-written.
`FST_TRACEBACK=1` shows where an error came from. `...` stands for `style=style.jpg
data.path=photos`.

`python scripts/bad_input_table.py PICTURE PHOTOGRAPHS` makes each of these mistakes and prints this
page.

| mistake | command | message | status |
|---|---|---|---|"""


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("photographs", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        for text in ("text.jpg", "fake.mp4"):
            (folder / text).write_text("neither a picture nor a video")
        (folder / "runs" / "taken").mkdir(parents=True)
        save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, folder / "other.safetensors")
        whole = (folder / "other.safetensors").read_bytes()
        (folder / "cut.safetensors").write_bytes(whole[:300])
        names = {
            "style": "style.jpg",
            "photos": "photos",
            "run": "style=style.jpg data.path=photos",
            "picture": "content=style.jpg style=style.jpg",
            "weights": "loss_network.weights=other.safetensors",
            "model": "model.safetensors",
        }
        (folder / "style.jpg").symlink_to(given.picture.resolve())
        (folder / "photos").symlink_to(given.photographs.resolve())
        make_model(folder / "model.safetensors")
        make_exports(folder)
        shown_config = [*FST, "train", *names["run"].split(), "style.title=style", "--cfg", "job"]
        config = subprocess.check_output(shown_config, cwd=folder, text=True)
        taken = folder / "runs" / "taken" / "config.yaml"
        taken.with_name("state.pt").touch()
        taken.write_text(config.replace("style_weight: 5.0", "style_weight: 7.0"))
        print(PAGE)
        for mistake, template in MISTAKES:
            command = template.format(**names)
            status, said = attempt(command, folder)
            print(f"| {mistake} | `{shown(command)}` | {said.replace('|', '&#124;')} | {status} |")


def make_model(path: Path) -> None:
    """Write a model file with random weights."""
    from fst.model_file import describe, save_model
    from fst.network import Fast

    network = Fast()
    save_model(path, network, describe(network))


def make_exports(folder: Path) -> None:
    """Export the model, and make damaged and foreign variants of the export."""
    import onnx

    from fst.export import export_model

    export_model(folder / "model.safetensors", folder / "model.onnx")
    whole = (folder / "model.onnx").read_bytes()
    for suffix in ("onnx", "pt2"):
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    foreign = onnx.load(folder / "model.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, folder / "foreign.onnx")


def attempt(command: str, folder: Path) -> tuple[int, str]:
    """Run `fst` with these arguments; return its exit status and what it wrote to stderr."""
    done = subprocess.run(
        [*FST, *shlex.split(command)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder / "home")},  # nothing cached
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr.strip().replace(str(folder), "/home/you")


def shown(command: str) -> str:
    """Return the command as the table shows it, with the settings common to all left out."""
    return "fst " + command.replace("style=style.jpg data.path=photos", "...")


if __name__ == "__main__":
    main()
