"""Damage run folders at random, seeded; use each as users do, and report what happened.

python scripts/fuzz/fuzz_runs.py 150

A tiny run is trained halfway. Each copy of its folder has one to three files damaged, and is then
compared, evaluated, inspected, used to stylize and as `init`, and its training is resumed. Expected
is a result of finite numbers or one line that says what is wrong; anything else is a bug, printed
with the number that repeats it. Where neither the state nor the configuration was damaged, the
resumed run must end with the very weights of an undamaged one.
"""

import dataclasses
import json
import math
import random
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from fuzzing import ODD_VALUES, Tally, damage, from_command_line
from odd_pictures import photograph
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fst
from fst.config import (
    FastConfig,
    FolderDataConfig,
    MomentsLossConfig,
    OptimizerConfig,
    PictureConfig,
    SlimConfig,
    TrainConfig,
    TrainingConfig,
)
from fst.errors import TrainingStoppedError, UserError
from fst.losses.vgg import VGG16
from fst.measuring import evaluation_report
from fst.measuring.comparison import compare
from fst.measuring.comparison_report import markdown, write_comparison
from fst.measuring.evaluation import Extent, evaluate
from fst.models.inspection import inspect_model
from fst.models.model_file import read_model
from fst.models.model_ref import find_model
from fst.networks.registry import build_network
from fst.training.registry import train
from fst.training.run_folder import RunFolder
from fst.training.setup import start_from

STATE, METRICS, CONFIG, MODEL = "state.pt", "metrics.jsonl", "config.yaml", "model.safetensors"
FIRST, ALL = 8, 16
"""Images of the run that is damaged, and of the resumed one."""
EXPECTED = (UserError, OSError, TrainingStoppedError)
"""What the command line prints as one line."""


def train_halfway(folder: Path) -> TrainConfig:
    """Train a tiny run halfway; return the configuration that resumes it."""
    photographs = folder / "photographs"
    photographs.mkdir(parents=True)
    for number in range(6):
        photograph(80 + number, 64).rotate(30 * number).save(photographs / f"{number}.png")
    photograph(48, 48).rotate(90).save(folder / "style.png")
    config = TrainConfig(
        style=PictureConfig(picture=str(folder / "style.png"), size_px=48),
        network=FastConfig(width=8, residual_blocks=1, coarse_width=8, coarse_blocks=1),
        loss=MomentsLossConfig(),
        loss_network=SlimConfig(),
        data=FolderDataConfig(
            path=str(photographs), crop_px=32, workers=0, heldout_images=1, heldout_px=48
        ),
        optimizer=OptimizerConfig(),
        training=TrainingConfig(
            images=FIRST, batch_size=2, report_every=4, save_every=8, device="cpu"
        ),
        name="run",
        runs_dir=str(folder / "runs"),
    )
    train(config)
    config.training.images = ALL
    RunFolder(config.run_dir).write_config(config)
    return config


def damage_run(run: Path, chance: random.Random) -> str:
    """Damage some files of a run folder; return how."""
    kinds: list[tuple[int, Callable[[Path, random.Random], str]]] = [
        (5, damage_bytes),
        (4, damage_file),
        (2, swap_files),
        (5, odd_state),
        (3, odd_config),
        (3, odd_model),
        (2, odd_metrics),
    ]
    weights, choices = zip(*kinds, strict=True)
    number = chance.choice((1, 1, 1, 2, 3))
    return ", ".join(kind(run, chance) for kind in chance.choices(choices, weights, k=number))


def files_of(run: Path) -> list[Path]:
    """Return the files of a run folder."""
    return sorted(path for path in run.iterdir() if path.is_file())


def damage_bytes(run: Path, chance: random.Random) -> str:
    """Change some bytes of a file."""
    if not (files := files_of(run)):
        return "nothing"
    path = chance.choice(files)
    path.write_bytes(damage(path.read_bytes(), chance))
    return f"bytes of {path.name}"


def damage_file(run: Path, chance: random.Random) -> str:
    """Cut a file, fill it with NULs, empty it, remove it, or put something else in its place."""
    if not (files := files_of(run)):
        return "nothing"
    path = chance.choice(files)
    content = path.read_bytes()
    how = chance.choice(("cut", "NULs", "NULs at the end", "empty", "missing", "folder", "link"))
    path.unlink()
    if how == "cut":
        path.write_bytes(content[: chance.randrange(len(content) or 1)])
    elif how == "NULs":  # after a power failure
        path.write_bytes(bytes(len(content)))
    elif how == "NULs at the end":
        kept = chance.randrange(len(content) or 1)
        path.write_bytes(content[:kept] + bytes(len(content) - kept))
    elif how == "empty":
        path.touch()
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to(chance.choice((path.name, "nowhere", "/dev/null")))
    return f"{path.name}: {how}"


def swap_files(run: Path, chance: random.Random) -> str:
    """Exchange two files."""
    if len(files := files_of(run)) < 2:
        return "nothing"
    one, other = chance.sample(files, 2)
    one_content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(one_content)
    return f"{one.name} and {other.name} swapped"


def odd_state(run: Path, chance: random.Random) -> str:
    """Write the state with an odd value somewhere, and correct checksums."""
    path = run / STATE
    try:
        state = torch.load(path, weights_only=True)
        place, key = random_place(state, chance)
    except Exception:  # damaged already
        return "nothing"
    old = place[key]
    if isinstance(old, torch.Tensor):
        value: Any = chance.choice(
            (
                torch.full_like(old, math.nan if old.is_floating_point() else 255),
                torch.zeros_like(old),
                -old if old.is_floating_point() else old,
                torch.zeros(1).as_strided((9999, 9999, 99), (0, 0, 0)),
                old.double(),
                old[None],
                old.flatten()[:-1],
                old.to_sparse() if old.dim() else old,
                3,
            )
        )
    elif chance.random() < 0.5 and isinstance(old, bool | int | float):
        value = type(old)(chance.choice((0, 1, -1, 7, 10**9)))
    else:
        value = chance.choice(ODD_VALUES)
    place[key] = value
    torch.save(state, path)
    if chance.random() < 0.1:
        pack(path)
        return f"{STATE}: {key} is {str(value)[:40]}, compressed"
    return f"{STATE}: {key} is {str(value)[:40]}"


def pack(path: Path) -> None:
    """Compress the records of a state, as a zip bomb would be."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def random_place(values: Any, chance: random.Random) -> tuple[Any, Any]:
    """Return a random dict or list inside nested ones, and one of its keys."""
    while True:
        key = (
            chance.choice([*values]) if isinstance(values, dict) else chance.randrange(len(values))
        )
        inner = values[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.1:
            return values, key
        values = inner


def odd_config(run: Path, chance: random.Random) -> str:
    """Write the configuration with an odd value somewhere, or with odd YAML."""
    path = run / CONFIG
    if chance.random() < 0.3:
        text = chance.choice(
            (
                "[" * 50_000,
                "a: &a [x, x, x, x, x, x, x, x, x]\n"
                + "".join(
                    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
                    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
                ),
                "!!python/object/apply:os.system [exit]",
                "seed: ${oc.env:HOME}\n",
                "seed: ${seed}\n",
                "? [a, b]\n: c\n",
                "1: 2\nnull: 3\n",
                "- a\n- b\n",
                "---\na: 1\n---\nb: 2\n",
                "\ufeffseed: 0\n",
                "seed: !!timestamp 2020-01-01\n",
                "<<: [1]\n",
            )
        )
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        return f"{CONFIG} is {text[:30]!r}"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        place, key = random_place(values, chance)
    except Exception:  # damaged already
        return "nothing"
    place[key] = chance.choice([value for value in ODD_VALUES if value != "\ud800"])
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return f"{CONFIG}: {key} is {str(place[key])[:40]}"


def odd_model(run: Path, chance: random.Random) -> str:
    """Write the model with an odd value in its metadata or an odd tensor."""
    path = run / MODEL
    try:
        with safe_open(path, "pt") as file:
            values = json.loads(file.metadata()["fst"])
        tensors = load_file(path)
        if chance.random() < 0.7:
            place, key = random_place(values, chance)
            place[key] = value = chance.choice(ODD_VALUES)
        else:
            key = chance.choice([*tensors])
            odd = (torch.full_like(tensors[key], math.nan), torch.zeros(0), torch.zeros(3, 3))
            value = tensors[key] = chance.choice(odd)
    except Exception:  # damaged already
        return "nothing"
    save_file(tensors, path, {"fst": json.dumps(values)})
    return f"{MODEL}: {key} is {str(value)[:40]}"


def odd_metrics(run: Path, chance: random.Random) -> str:
    """Add odd lines to the metrics, or repeat them in another order."""
    path = run / METRICS
    if not path.is_file():
        return "nothing"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    odd = chance.choice(
        (
            '{"seen_images": NaN}', '{"seen_images": 4, "seconds": Infinity}',
            '{"seen_images": 1e400}', '{"seen_images": ' + "9" * 5000 + "}", '{"seen_images": -1}',
            '{"seen_images": 4, "seconds": ' + "9" * 400 + "}", '{"seen_images": true}',
            '{"seen_images": 4, "seconds": "\\ud800"}', "[" * 50_000, "null", "\0" * 100,
            '{"seen_images": 4, "seen_images": 8}', "x" * 10_000_000, '{"seen_images": 4}\r',
            '{"\\u2028": 4, "seen_images": 4}',
        )
    )  # fmt: skip
    lines.insert(chance.randrange(len(lines) + 1), odd)
    chance.shuffle(lines)
    path.write_text("\n".join(lines) + chance.choice(("", "\n")), encoding="utf-8")
    return f"{METRICS} has {odd[:40]!r}"


def resume(config: TrainConfig, expected: dict[str, torch.Tensor] | None) -> None:
    """Resume a training; its model must be finite, and that of the undamaged run if it is given."""
    train(config)
    folder = RunFolder(config.run_dir)
    try:
        tensors = read_model(folder.model).network.state_dict()
    except UserError as error:
        raise AssertionError(f"the resumed run wrote a bad model: {error}") from error
    if expected is not None:
        assert tensors.keys() == expected.keys()
        differing = [name for name in tensors if not torch.equal(tensors[name], expected[name])]
        assert not differing, f"the resumed run differs in {differing}"
    for report in folder.read_metrics():
        assert None not in report.values(), f"a report has infinite values: {report}"


def uses(config: TrainConfig, sound: Path, out: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what users do with a run folder, by name.

    Args:
        config: that of the run in the folder.
        sound: a model that is not damaged.
        out: a folder for results.
    """
    run = str(config.run_dir)

    def compare_runs() -> None:
        compared = compare([run, str(sound)], images=1, size=48, device="cpu")
        markdown(compared, "fst compare")
        write_comparison(out, compared, "fst compare")

    def stylize() -> None:
        stylized = fst.load(run, "cpu")(torch.rand(1, 3, 24, 32))
        assert stylized.isfinite().all(), "the picture is not finite"

    def evaluate_run() -> None:
        extent = Extent(images=1, sizes=(), curves=(48,), iterations=1)  # not at 256 px
        report = evaluate([run], out, extent, device="cpu")
        evaluation_report.markdown(report, "fst evaluate", "cpu")

    yield "compare", compare_runs
    yield "evaluate", evaluate_run
    yield "inspect", lambda: inspect_model(find_model(run))
    yield "stylize", stylize
    network = build_network(config.network.name, config.network.arguments())
    yield "init", partial(start_from, network, run)


def fuzz(count: int, seed: int = 0, first: int = 0) -> Tally:
    """Damage and use this many run folders, from number `first` on."""
    tally = Tally(EXPECTED)
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as name,
        warnings.catch_warnings(),
        # Evaluated by random weights, as the published ones are not at hand everywhere.
        patch("fst.measuring.evaluation.load_vgg16", lambda _, last, **__: VGG16(last)),
    ):
        warnings.simplefilter("ignore")
        half = train_halfway(Path(name) / "half")
        sound = dataclasses.replace(half, runs_dir=str(Path(name) / "sound"))
        shutil.copytree(half.run_dir, sound.run_dir)
        resume(sound, expected=None)
        whole = read_model(RunFolder(sound.run_dir).model).network.state_dict()
        for number in range(first, first + count):
            config = dataclasses.replace(half, runs_dir=str(Path(name) / "damaged"))
            shutil.copytree(half.run_dir, config.run_dir)
            how = damage_run(config.run_dir, random.Random(f"{seed}/{number}"))
            intact = all(
                (path := config.run_dir / file).is_file()
                and path.read_bytes() == (half.run_dir / file).read_bytes()
                for file in (STATE, CONFIG)
            )
            label = f"seed {seed}, run {number} ({how})"
            for use, act in uses(config, RunFolder(sound.run_dir).model, Path(name) / "out"):
                tally.count(f"{label}, {use}", act)
            tally.count(f"{label}, resume", partial(resume, config, whole if intact else None))
            shutil.rmtree(config.runs_dir)
    return tally


if __name__ == "__main__":
    sys.exit(from_command_line(__doc__, fuzz, "run folder", "run folders, each used 6 times"))
