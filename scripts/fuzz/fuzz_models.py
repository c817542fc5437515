"""Damage model files and pictures at random, seeded; load each, and report what happened.

python scripts/fuzz/fuzz_models.py models 900
python scripts/fuzz/fuzz_models.py onnx 200
python scripts/fuzz/fuzz_models.py pictures 2500
python scripts/fuzz/fuzz_models.py masks 500

Expected is a result of finite numbers or one `UserError`; anything else is a bug and is printed
with the seed that repeats it.
"""

import argparse
import io
import json
import random
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzzing import ODD_VALUES, Tally, damage
from PIL import Image
from safetensors.torch import save

import fst
from fst.config import FastConfig, JohnsonConfig
from fst.models.export_info import ExportInfo, export_metadata
from fst.models.foreign import _FOREIGN_LAYERS
from fst.models.inspection import inspect_model
from fst.models.model_file import describe, read_model
from fst.models.model_ref import ModelRef
from fst.networks.fast import Fast
from fst.networks.johnson import Johnson
from fst.pictures.image import read_picture, write_picture
from fst.pictures.mask import read_mask

Case = tuple[str, bytes]
"""A suffix and the content of a file."""


def model_cases(seed: int) -> Iterator[Case]:
    """Yield damaged model files without end."""
    torch.manual_seed(seed)
    network = Fast(FastConfig(width=8, residual_blocks=1, coarse_blocks=1, coarse_width=8))
    tensors, info = network.state_dict(), describe(network, title="Stripes")
    values = vars(info)
    exported = export_metadata(info, ExportInfo("fp32", "cpu", size=(48, 64)))
    foreign = foreign_state()
    for number in range(10**9):
        chance = random.Random(f"{seed}/{number}")
        kind = chance.randrange(5)
        if kind == 0:  # odd metadata around sound tensors
            odd = json.loads(json.dumps(values))
            place = odd if chance.random() < 0.5 else odd["network_arguments"]
            place[chance.choice([*place])] = chance.choice(ODD_VALUES)
            yield ".safetensors", save(tensors, {"fst": json.dumps(odd)})
        elif kind == 1:  # odd tensors under sound metadata
            name = chance.choice([*tensors])
            odd_tensor = chance.choice(
                (torch.full_like(tensors[name], torch.nan), torch.zeros(0), torch.zeros(3, 3))
            )
            yield ".safetensors", save(tensors | {name: odd_tensor}, {"fst": json.dumps(values)})
        elif kind == 2:  # odd keys and values in a pickle
            odd_state: dict[Any, Any] = dict(foreign)
            key = chance.choice([*foreign, "res9.in1.bias", "res1", "", 3, None])
            odd_state[key] = chance.choice(
                (torch.zeros(1).as_strided((9999, 9999, 9), (0, 0, 0)), torch.zeros(()), 3, "x",
                 torch.full((4,), torch.inf), torch.zeros(4).to_sparse())
            )  # fmt: skip
            yield ".pth", pickle_state(odd_state)
        elif kind == 3:  # odd metadata in a package
            texts = dict(exported)
            key = chance.choice([*texts])
            odd = json.loads(texts[key])
            odd[chance.choice([*odd])] = chance.choice(ODD_VALUES)
            texts[key] = json.dumps(odd)
            yield ".pt2", package(texts)
        else:  # damaged bytes
            suffix = chance.choice((".safetensors", ".pth", ".pt2"))
            whole = save(tensors, {"fst": json.dumps(values)})
            if suffix == ".pth":
                whole = pickle_state(foreign)
            elif suffix == ".pt2":
                whole = package(exported)
            yield suffix, damage(whole, chance)


def foreign_state() -> dict[str, torch.Tensor]:
    """Return the state dict of the widespread port, of width 4 without residual blocks."""
    ours = Johnson(JohnsonConfig(width=4, residual_blocks=0, output="clamp")).state_dict()
    names = {own: theirs for theirs, own in _FOREIGN_LAYERS.items()}
    state = {}
    for name, value in ours.items():
        layer, kind = name.rsplit(".", 1)
        convolution = ".conv2d" if "conv" in names[layer] else ""
        state[f"{names[layer]}{convolution}.{kind}"] = value
    return state


def package(metadata: dict[str, str]) -> bytes:
    """Return a .pt2 that says this about itself; its machine code is noise, and never loaded."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data/aotinductor/model/x.wrapper_metadata.json", json.dumps(metadata))
        archive.writestr("a/data/aotinductor/model/x.wrapper.so", bytes(1000))
    return buffer.getvalue()


def pickle_state(state: dict[Any, Any]) -> bytes:
    """Return what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def picture_cases(seed: int) -> Iterator[Case]:
    """Yield damaged pictures without end."""
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8769] = 6, "a hill", {0x9003: "2020:01:02 03:04:05"}
    wholes = []
    for mode, kind in [
        ("RGB", "JPEG"), ("RGBA", "PNG"), ("P", "GIF"), ("RGB", "TIFF"), ("RGBA", "WEBP"),
        ("I;16", "PNG"), ("RGB", "AVIF"), ("L", "JPEG2000"), ("CMYK", "TIFF"), ("RGB", "PPM"),
        ("RGB", "BMP"), ("LA", "PNG"), ("F", "TIFF"), ("1", "PNG"),
    ]:  # fmt: skip
        buffer = io.BytesIO()
        picture = Image.fromarray(pixels)
        picture = picture.convert("L" if mode == "I;16" else mode)
        if mode == "I;16":
            picture = Image.fromarray(np.array(picture).astype(np.uint16) * 257)
        carries = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "AVIF") else {}
        picture.save(buffer, kind, **carries)
        wholes.append(buffer.getvalue())
    for number in range(10**9):
        chance = random.Random(f"{seed}/{number}")
        suffix = chance.choice((".jpg", ".png", ".tif", ".webp"))
        yield suffix, damage(chance.choice(wholes), chance)


def load_and_run(path: Path) -> None:
    """Load a damaged model; one that loads must give a finite picture. A .pt2 is only inspected."""
    inspect_model(ModelRef(path))
    if path.suffix == ".pt2":
        return
    network = read_model(path).network
    assert network(torch.rand(1, 3, 16, 16)).isfinite().all(), "the picture is not finite"


def load_and_run_onnx(path: Path) -> None:
    """Load a damaged exported model as users do; one that loads must give a picture, or refuse."""
    inspect_model(ModelRef(path))
    picture = fst.load(path, "cpu")(torch.rand(1, 3, 16, 20))
    assert picture.shape == (1, 3, 16, 20), picture.shape
    assert picture.isfinite().all(), "the picture is not finite"


def onnx_files(seed: int) -> Iterator[Case]:
    """Yield damaged ONNX files; `onnx` is an extra."""
    from fuzz_onnx import onnx_cases

    return onnx_cases(seed)


def read_and_write(path: Path) -> None:
    """Read a damaged picture, small as well, and write it again in the format of its suffix."""
    read_picture(path, 24)
    picture = read_picture(path)
    if picture.rgb.numel() < 10_000_000:
        write_picture(picture, path.with_stem("written"))


KINDS: dict[str, tuple[Callable[[int], Iterator[Case]], Callable[[Path], object]]] = {
    "models": (model_cases, load_and_run),
    "onnx": (onnx_files, load_and_run_onnx),
    "pictures": (picture_cases, read_and_write),
    "masks": (picture_cases, read_mask),
}


def fuzz(kind: str, count: int, seed: int = 0) -> Tally:
    """Try this many files."""
    cases, attempt = KINDS[kind]
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for number, (suffix, content) in zip(range(count), cases(seed), strict=False):
            path = Path(folder) / f"file{suffix}"
            path.write_bytes(content)
            tally.count(f"seed {seed}, file {number}{suffix}", partial(attempt, path))
    return tally


def main() -> int:
    """Fuzz, and print the counts; return 1 if there were bugs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tally = fuzz(given.kind, given.count, given.seed)
    print(f"{given.count} {given.kind}: {tally}")
    return int(bool(tally.bugs))


if __name__ == "__main__":
    sys.exit(main())
