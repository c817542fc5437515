"""Make every mistake of the README's table and print what is said: the table itself, in Markdown.

python scripts/bad_input_table.py PICTURE PHOTOGRAPHS
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
    ("key that no schema has", "train {run} +extra=1"),
    ("wrong type", "train {run} network.width=wide"),
    ("impossible value", "train {run} data.crop_px=-5"),
    ("unknown layer", "train {run} loss.style_layers=[relu9_9]"),
    ("unknown choice", "train {run} network=vast"),
    ("unknown experiment", "train {run} experiment=qick"),
    ("a list without a sweep", "train {run} loss.style_weight=2,5"),
    ("broken syntax", "train {run} loss.style_layers=[relu1_2"),
    ("no style", "train data.path={photos}"),
    ("style picture missing", "train style=missing.jpg data.path={photos}"),
    ("style picture damaged", "train style=text.jpg data.path={photos} {weights}"),
    ("no data", "train style={style}"),
    ("folder of photographs missing", "train style={style} data.path=missing"),
    ("folder of photographs empty", "train style={style} data.path=empty"),
    ("weights missing", "train {run} loss_network.weights=missing.pth"),
    ("weights that are none", "train {run} loss_network.weights=text.jpg"),
    ("weights of another network", "train {run} {weights}"),
    ("no weights and no network", "train {run}"),
    ("a layer that slim lacks", "train {run} loss_network=slim loss=johnson"),
    ("a start from nothing", "train {run} loss_network=slim init=nowhere"),
    ("a start from another network", "train {run} loss_network=slim init={model} network.width=8"),
    ("no such device", "train {run} training.device=cuda:9"),
    ("run folder of another configuration", "train {run} name=taken"),
    ("model missing", "stylize nowhere {style} -o out.png"),
    ("model damaged", "stylize cut.safetensors {style} -o out.png"),
    ("exported model damaged", "stylize cut.onnx {style} -o out.png"),
    ("exported package damaged", "stylize cut.pt2 {style} -o out.png"),
    ("a network that fst did not export", "stylize foreign.onnx {style} -o out.png"),
    ("precision of an exported model", "stylize model.onnx {style} -o out.png --dtype bf16"),
    ("optimising: a result that exists", "optimize {picture} output=style.jpg"),
    ("optimising: a share too many", "optimize {picture} style_shares=[1,2]"),
    ("optimising: more than memory holds", "optimize {picture} loss_network=slim size_px=50000"),
    ("optimising: a start from nothing", "optimize {picture} loss_network=slim init=nowhere"),
    ("nothing to compare", "compare"),
    ("a folder without a model", "compare empty"),
    ("no photographs known", "compare {model}"),
    ("no style known", "evaluate {model} --photographs photos"),
    ("a size to evaluate that is none", "evaluate {model} --photographs photos --sizes big"),
    ("unknown format to export", "export {model} -o out.tflite"),
    ("an export that exists", "export {model} -o model.onnx"),
    ("an engine that is none", "benchmark --engines warp"),
    ("picture missing", "stylize {model} missing.jpg -o out.png"),
    ("picture damaged", "stylize {model} text.jpg -o out.png"),
    ("some pictures damaged", "stylize {model} {style} text.jpg -o out"),
    ("a result that exists", "stylize {model} {style} -o {style}"),
    ("several results, one file", "stylize {model} {style} text.jpg -o out.png"),
    ("unknown device", "stylize {model} {style} -o out.png --device banana"),
    ("no video in the file", "stylize {model} fake.mp4 -o out.mp4"),
    ("no such camera", "webcam {model} --camera 9 --headless --frames 1"),
    ("unknown format to write", "stylize {model} {style} -o out.xyz"),
    ("no output named", "stylize {model} {style}"),
    ("unknown flag", "stylize {model} {style} -o out.png --colour"),
    ("unknown command", "paint {style}"),
]


def main() -> None:
    """Print the table."""
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
        print("| mistake | command | what is said | status |\n|---|---|---|---|")
        for mistake, template in MISTAKES:
            command = template.format(**names)
            status, said = attempt(command, folder)
            print(f"| {mistake} | `{shown(command)}` | {said.replace('|', '&#124;')} | {status} |")


def make_model(path: Path) -> None:
    """Write a model file with random weights."""
    from fst.models.model_file import describe, save_model
    from fst.networks.fast import Fast

    network = Fast()
    save_model(path, network, describe(network))


def make_exports(folder: Path) -> None:
    """Export the model, and make what is like it and not."""
    import onnx

    from fst.models.export import export_model

    export_model(folder / "model.safetensors", folder / "model.onnx")
    whole = (folder / "model.onnx").read_bytes()
    for suffix in ("onnx", "pt2"):
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    foreign = onnx.load(folder / "model.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, folder / "foreign.onnx")


def attempt(command: str, folder: Path) -> tuple[int, str]:
    """Run `fst` with these arguments; return its exit status and what it said on stderr."""
    done = subprocess.run(
        [*FST, *shlex.split(command)],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder / "home")},  # nothing cached
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr.strip().replace(str(folder), "/home/you")


def shown(command: str) -> str:
    """Return the command as the table shows it, what all have in common left out."""
    return "fst " + command.replace("style=style.jpg data.path=photos", "...")


if __name__ == "__main__":
    main()
