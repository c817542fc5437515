"""The page of error messages: every mistake of a table is made, and what fst says is written down.

`write_reference.py` writes the page, and checks that fst still says what is written there.
"""

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from PIL import Image
from safetensors.torch import save_file

from fst.config import FastConfig
from fst.models.model_file import describe, save_model
from fst.networks.fast import Fast
from fst.pictures.image import write_image
from fst.report import table


class Mistake(NamedTuple):
    """What somebody does, and how."""

    what: str
    command: str
    """What follows `fst`; `RUN` stands for a style and photographs."""
    elsewhere: str | None = None
    """A pattern of what the machine or other software has a say in; the page has `...` there."""
    status: int = 2


RUN = "style=style.jpg data.path=photos"
MISTAKES = {
    "Settings": [
        Mistake("misspelt key", "train RUN network.widht=3"),
        Mistake("key that does not exist", "train RUN +extra=1"),
        Mistake("wrong type", "train RUN network.width=wide"),
        Mistake("impossible value", "train RUN data.crop_px=-5"),
        Mistake("number too large", "train RUN optimizer.learning_rate=1e300"),
        Mistake("unknown choice", "train RUN network=vast"),
        Mistake("unknown experiment", "train RUN experiment=qick"),
        Mistake("unknown layer", "train RUN loss.style_layers=[relu9_9]"),
        Mistake("list of values without -m", "train RUN loss.style_weight=2,5"),
        Mistake("invalid syntax", "train RUN loss.style_layers=[relu1_2", r": no viable .*\]?'"),
        Mistake("flag of Hydra that fst refuses", "train RUN --config-dir=elsewhere"),
    ],
    "Training": [
        Mistake("no style given", "train data.path=photos"),
        Mistake("style picture missing", "train style=missing.jpg data.path=photos"),
        Mistake("no photographs given", "train style=style.jpg"),
        Mistake("folder of photographs missing", "train style=style.jpg data.path=missing"),
        Mistake("folder of photographs empty", "train style=style.jpg data.path=empty"),
        Mistake("no weights and no internet access", "train RUN", r"<urlopen error .*?>"),
        Mistake("weights missing", "train RUN loss_network.weights=missing.pth"),
        Mistake("not a weights file", "train RUN loss_network.weights=text.jpg"),
        Mistake("weights of another network", "train RUN loss_network.weights=other.safetensors"),
        Mistake(
            "layer that the small loss network lacks", "train RUN loss_network=slim loss=johnson"
        ),
        Mistake(
            "init: another architecture",
            "train RUN loss_network=slim init=model.safetensors network.width=8",
        ),
        Mistake("run folder holds another configuration", "train RUN name=taken"),
        Mistake("device not available", "train RUN training.device=cuda:9", "(?<=available: ).*"),
        Mistake("prepare: neither pictures nor parquet files", "prepare style.jpg -o prepared"),
        Mistake("prepare: the folder holds something else", "prepare photos -o photos"),
    ],
    "Models": [
        Mistake("no such model", "stylize nowhere style.jpg -o out.png"),
        Mistake("several styles, and none chosen", "stylize museum style.jpg -o out.png"),
        Mistake("no such style", "stylize museum:monet style.jpg -o out.png"),
        Mistake(
            "strength above 1", "stylize model.safetensors style.jpg -o out.png --strength 1.2"
        ),
        Mistake("an upscaler as a style", "stylize upscale_x4 style.jpg -o out.png"),
        Mistake("model damaged", "stylize cut.safetensors style.jpg -o out.png", "(?<=file: ).*"),
        Mistake("exported model damaged", "stylize cut.onnx style.jpg -o out.png"),
        Mistake("exported package damaged", "stylize cut.pt2 style.jpg -o out.png"),
        Mistake("ONNX model from elsewhere", "stylize foreign.onnx style.jpg -o out.png"),
        Mistake(
            "precision for an exported model",
            "stylize foreign.onnx style.jpg -o out.png --dtype bf16",
        ),
        Mistake("export: unknown format", "export model.safetensors -o out.tflite"),
        Mistake("export: file exists", "export model.safetensors -o foreign.onnx"),
        Mistake("web: the folder holds something else", "web model.safetensors -o photos"),
        Mistake("web: a style alone", "web museum:udnie -o site"),
        Mistake("web: not a folder of the runtime", "web model.safetensors -o site --ort empty"),
    ],
    "Pictures and videos": [
        Mistake("picture missing", "stylize model.safetensors missing.jpg -o out.png"),
        Mistake("picture damaged", "stylize model.safetensors text.jpg -o out.png"),
        Mistake(
            "some pictures damaged", "stylize model.safetensors style.jpg text.jpg -o out", None, 1
        ),
        Mistake("camera raw", "stylize model.safetensors camera.cr2 -o out.png"),
        Mistake(
            "address of the web", "stylize model.safetensors https://example.com/a.jpg -o out.png"
        ),
        Mistake(
            "mask of class numbers",
            "stylize model.safetensors style.jpg -o out.png --mask classes.png",
        ),
        Mistake(
            "mask of a region missing",
            "stylize model.safetensors style.jpg -o out.png --region missing.png=udnie",
        ),
        Mistake(
            "region without a model", "stylize udnie style.jpg -o out.png --region classes.png"
        ),
        Mistake(
            "faces protected in a video",
            "stylize model.safetensors list.mp4 -o out.mp4 --protect-faces",
        ),
        Mistake(
            "result would replace its picture", "stylize model.safetensors style.jpg -o style.jpg"
        ),
        Mistake(
            "several results, one file", "stylize model.safetensors style.jpg text.jpg -o out.png"
        ),
        Mistake("unknown output format", "stylize model.safetensors style.jpg -o out.xyz"),
        Mistake("unknown device", "stylize model.safetensors style.jpg -o out.png --device banana"),
        Mistake("video damaged", "stylize model.safetensors fake.mp4 -o out.mp4", "(?<=video: ).*"),
        Mistake("video is a playlist", "stylize model.safetensors list.mp4 -o out.mp4"),
        Mistake(
            "camera missing",
            "webcam model.safetensors --camera 9 --headless --frames 1",
            "(?<=found: )[^)]*",
        ),
    ],
    "One picture, comparison, evaluation": [
        Mistake("result exists", "optimize content=style.jpg style=style.jpg output=style.jpg"),
        Mistake(
            "wrong number of shares",
            "optimize content=style.jpg style=style.jpg style_shares=[1,2]",
        ),
        Mistake(
            "larger than memory",
            "optimize content=style.jpg style=style.jpg loss_network=slim size_px=50000",
            "(?<=but )[0-9.]+ [A-Z]+",
        ),
        Mistake("compare: no models given", "compare"),
        Mistake("compare: folder without a model", "compare empty"),
        Mistake("compare: photographs unknown", "compare model.safetensors"),
        Mistake("evaluate: style unknown", "evaluate model.safetensors --photographs photos"),
        Mistake(
            "evaluate: invalid size", "evaluate model.safetensors --photographs photos --sizes big"
        ),
        Mistake("benchmark: unknown engine", "benchmark --engines warp"),
    ],
    "The command line": [
        Mistake("no output given", "stylize model.safetensors style.jpg"),
        Mistake("unknown flag", "stylize model.safetensors style.jpg -o out.png --colour"),
        Mistake("unknown command", "paint style.jpg"),
    ],
}
HEAD = """\
A mistake is reported in one line on stderr, which starts with the command's name, and the exit
status is 2. Nothing is lost or half-written. `FST_TRACEBACK=1` shows where an error came from.

Search this page for the words of your message. Names and numbers are examples; `...` stands for
what the machine or other software adds.
"""
LOADED_FIRST = (
    "fst.cli.app",
    "fst.cli.train",
    "fst.cli.optimize",
    "fst.batch.console",
    "fst.measuring.evaluation",
    "fst.models.runtime",
    "datasets",
)


def mistakes_page() -> Iterator[str]:
    """Yield the parts of the page after its title: a table for each kind of mistake.

    Raises:
        RuntimeError: a command ends with another status than the table says, or the table expects
            something in its message that is not there.
    """
    yield HEAD
    os.environ["OMP_NUM_THREADS"] = "1"
    context = get_context("forkserver")  # torch is imported once, and not used before the fork
    context.set_forkserver_preload(list(LOADED_FIRST))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "you"  # messages name it
        make_inputs(folder)
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            config = pool.submit(run, folder, "train RUN style.title=style --cfg job").result()[1]
            other = config.replace("style_weight: 10.0", "style_weight: 7.0")
            (folder / "runs" / "taken" / "config.yaml").write_text(other, encoding="utf-8")
            commands = [mistake.command for made in MISTAKES.values() for mistake in made]
            ends = dict(zip(commands, pool.map(partial(run, folder), commands), strict=True))
    for kind, made in MISTAKES.items():
        yield f"## {kind}\n"
        rows = []
        for mistake in made:
            status, _, said = ends[mistake.command]
            cause = mistake.what + ("" if mistake.status == 2 else f"; exit status {status}")
            example = mistake.command.replace("RUN", "...")
            for place, shown in (
                (folder, "/home/you"),
                (resources.files("fst.checkpoints"), "..."),
            ):
                said = said.replace(str(place), shown)
            message = message_of(mistake, status, said)
            rows.append((message, cause, f"`fst {example}`"))
        yield "\n".join([*table(("message", "cause", "example"), rows), ""])


def message_of(mistake: Mistake, status: int, said: str) -> str:
    """Return what a command said, without its name and what comes from elsewhere."""
    if status != mistake.status:
        raise RuntimeError(f"{mistake.what}: status {status} instead of {mistake.status}: {said}")
    message = re.sub(r"^fst( [\w-]+)?: ", "", said.strip())
    message = re.sub(r'"(--[\w-]+)"', r"\1", message)  # older cyclopts quotes flags
    if mistake.elsewhere is None:
        return message
    message, found = re.subn(mistake.elsewhere, "...", message, count=1)
    if not found:
        raise RuntimeError(f"{mistake.what}: there is no {mistake.elsewhere} in {message}")
    return message


def run(folder: Path, command: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit status and what it wrote to both streams."""
    from fst.cli.app import main

    os.chdir(folder)
    os.environ.clear()
    os.environ |= {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    os.environ["HTTPS_PROXY"] = "http://127.0.0.1:9"  # nothing is downloaded
    sys.argv = ["fst", *shlex.split(command.replace("RUN", RUN))]
    status = 0
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        os.dup2(out.fileno(), 1)
        os.dup2(error.fileno(), 2)
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read().decode())
    return status, texts[0], texts[1]


def make_inputs(folder: Path) -> None:
    """Write what the commands are given: a style, photographs, a model, damaged files."""
    for name in ("empty", "photos", "runs/taken"):
        (folder / name).mkdir(parents=True)
    colours = torch.from_numpy(np.random.default_rng(0).random((1, 3, 400, 300), np.float32))
    for name in ("style.jpg", "photos/1.jpg", "photos/2.jpg"):
        write_image(colours, folder / name)
    for name in ("text.jpg", "fake.mp4"):
        (folder / name).write_text("neither a picture nor a video", encoding="utf-8")
    listed = "ffconcat version 1.0\nfile 'clip.mp4'\n"
    (folder / "list.mp4").write_text(listed, encoding="utf-8")
    (folder / "camera.cr2").write_bytes(b"II*\0\x10\0\0\0CR\x02\0" + bytes(200))
    Image.new("L", (8, 8), 1).save(folder / "classes.png")
    network = Fast(FastConfig())
    save_model(folder / "model.safetensors", network, describe(network))
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, folder / "other.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "other.safetensors").read_bytes()[:300])
    make_foreign_model(folder / "foreign.onnx")
    for suffix in ("onnx", "pt2"):
        (folder / f"cut.{suffix}").write_bytes((folder / "foreign.onnx").read_bytes()[:60])
    (folder / "runs" / "taken" / "state.pt").touch()


def make_foreign_model(path: Path) -> None:
    """Write an ONNX model that fst did not export: it returns its input."""
    shape: list[str | int | None] = ["N", 3, "H", "W"]
    ends = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, shape) for n in "xy"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "graph", ends[:1], ends[1:]
    )
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
