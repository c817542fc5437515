"""Trained models side by side: their pictures in one sheet, their settings and figures in a table.

Losses are those that each run recorded on its held-out pictures. Speed is measured here, the models
in turns, so that a busy machine is busy for all of them.
"""

import dataclasses
import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fst.atomic import replacing
from fst.device import pick_device
from fst.errors import UserError, one_line
from fst.models.model_file import find_model
from fst.models.model_info import ModelInfo
from fst.models.runtime import EXPORTED
from fst.networks.cost import count_parameters
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range, write_image
from fst.pictures.sheet import GAP_PX, labelled_sheet
from fst.report import few, machine_line, number, seconds_of, table
from fst.stylizing.stylizer import Stylizer, load
from fst.training.data import MIN_PX, Skipped, heldout_of, squared_pictures
from fst.training.run_folder import FREE_KEYS, RunFolder, flatten
from fst.training.tracking import main_terms

ROUNDS = 7
"""How often each model is timed."""
_NOT_COMPARED = FREE_KEYS | {
    "data.heldout_path",
    "loss_network.name",  # has a column of its own
    "loss_network.weights",
    "loss_network.verify",
}
_HELDOUT_KEYS = ("data.heldout_path", "data.heldout_images", "data.heldout_px")
_DRAWN_BY = ("data.kind", "data.path", "data.files", "data.image_column", "seed")
"""What decides, beside `_HELDOUT_KEYS`, on pictures that a run held out of its own."""
_SETTINGS_SHOWN = 8
_MAX_SIDE_PX = 65_500
"""A JPEG's longest side."""
_EVENTS_SUFFIX = ".comparison"


@dataclass
class Row:
    """What is known of a model, and what was measured of it here; None where nothing is said."""

    name: str
    """The shortest that tells it from the others."""
    model: str
    """Its file."""
    settings: dict[str, Any]
    """Those of its training in which the models differ."""
    losses: dict[str, float]
    """The last held-out ones, under TensorBoard's names."""
    loss_network: str
    """What judged them."""
    seen_images: int | None
    training_seconds: float | None
    parameters: int | None
    megabytes: float
    """Of the file."""
    engine: str
    """What runs it here."""
    milliseconds: float
    """A picture of the sheet: median."""

    @property
    def pictures_per_second(self) -> float:
        """As fast as that, one after the other."""
        return 1e3 / self.milliseconds


@dataclass
class Comparison:
    """What came of comparing."""

    rows: list[Row]
    sheet: Tensor
    """(1, 3, H, W) in [0, 1]: a row a photograph, a column a model."""
    size: int
    """Side of its pictures, in pixels."""
    machine: str
    notes: list[str]
    """What has to be known to read the table."""


def compare(
    given: Sequence[str],
    photographs: Path | None = None,
    images: int = 6,
    size: int = 256,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Stylize the same photographs with several models, and gather what is known of each.

    Args:
        given: what `find_model` takes; files and folders that are not models are skipped and
            named.
        photographs: a folder; otherwise those that the first model's training held out.
        images: how many of them.
        size: their side in pixels; they are cut square from the middle.
        device: `cuda`, `cpu` ...; `auto` takes CUDA where there is one.
        progress: is told what is being done.

    Raises:
        FileNotFoundError: there is no such model, none at all, or there are no photographs.
        UserError: a damaged model, or a setting out of range.
        ImportError: an ONNX model is among them, and onnxruntime is not installed.
    """
    if images < 1:
        raise UserError(f"images={images} must be at least 1")
    if size < MIN_PX:
        raise UserError(f"size={size} must be at least {MIN_PX} pixels")
    place = pick_device(device)
    stylizers, left_alone = load_models(given, device)
    longest = max(images, len(stylizers) + 1) * (size + GAP_PX)
    if longest > _MAX_SIDE_PX:
        raise UserError(
            f"a sheet of {images} photographs and {len(stylizers)} models at size={size} is too "
            "large for a JPEG: take fewer, or a smaller size"
        )
    infos = [stylizer.info for stylizer in stylizers.values()]
    names = run_names(list(stylizers))
    pictures, skipped = photographs_of(
        photographs, dict(zip(names, infos, strict=True)), images, size
    )

    contents = torch.split(to_unit_range(pictures), 1)
    columns: list[Sequence[Tensor]] = [contents]
    for name, stylizer in zip(names, stylizers.values(), strict=True):
        progress(f"{name}: stylizing {len(contents)} photographs")
        columns.append([stylizer(content) for content in contents])
    sheet = labelled_sheet(["photograph", *names], list(zip(*columns, strict=True)))
    settings = differing_settings(infos)
    milliseconds = _time(list(stylizers.values()), contents[0], progress)
    rows = [
        _row(name, path, stylizer, settings[i], milliseconds[i])
        for i, (name, (path, stylizer)) in enumerate(zip(names, stylizers.items(), strict=True))
    ]
    notes = cautions(infos) + passed_over(left_alone, skipped)
    return Comparison(rows, sheet, size, machine_line(place), notes)


def run_names(models: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell models apart.

    They are the ends of their paths; in a sweep (`loss.style_weight=2+seed=1`) what is common to
    all of it is left out, and the names of the groups.
    """
    runs = [path.parent if path == RunFolder(path.parent).model else None for path in models]
    whole = [run or path.with_suffix("") for run, path in zip(runs, models, strict=True)]
    if len(set(whole)) < len(whole):  # one model as .safetensors and as .onnx
        whole = [run or path for run, path in zip(runs, models, strict=True)]
    ends = [["/".join(path.parts[-n:]) for n in range(1, len(path.parts) + 1)] for path in whole]
    taken = [end for own in ends for end in own]
    names = [next(end for end in own if taken.count(end) == 1) for own in ends]
    parts = [re.split(r"\+(?=[\w.]+=)", name) for name in names]
    common = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    shorter = [
        "+".join(re.sub(r"^[\w.]*\.(?=\w+=)", "", part) for part in own if part not in common)
        for own in parts
    ]
    return shorter if all(shorter) and len(set(shorter)) == len(shorter) else names


def differing_settings(infos: Sequence[ModelInfo]) -> list[dict[str, Any]]:
    """Return for each model its settings that another model has with another value.

    Paths, names, and what the trained model does not depend on are no settings here. Of a model
    that says nothing of its training only the network's are known.
    """
    given = [
        flatten(
            {"network": {"name": info.network, **info.network_arguments}} | info.training_config
        )
        for info in infos
    ]
    values: dict[str, list[Any]] = {}
    for settings in given:
        for key in settings.keys() - _NOT_COMPARED:
            values.setdefault(key, []).append(settings[key])
    differing = sorted(key for key, found in values.items() if any(v != found[0] for v in found))
    return [{key: own[key] for key in differing if key in own} for own in given]


def cautions(infos: Sequence[ModelInfo]) -> list[str]:
    """Return a sentence for each reason why the models' held-out losses can't be compared."""
    judged = [info for info in infos if info.losses]
    said = []
    if len(networks := sorted({info.loss_network for info in judged})) > 1:
        said.append(
            f"Judged by different loss networks ({', '.join(networks)}): held-out losses by one "
            "can't be compared with those by another."
        )
    settings = [flatten(info.training_config) for info in judged if info.training_config]
    own = any(each["data.heldout_path"] is None for each in settings)
    if keys := _differing(settings, (*_HELDOUT_KEYS, *(_DRAWN_BY if own else ()))):
        said.append(
            f"Judged on different held-out pictures ({', '.join(keys)}): their losses can't be "
            "compared."
        )
    if keys := _differing(settings, ("style.title", "style.size_px")):
        said.append(
            f"Of different styles ({', '.join(keys)}): heldout/style, and so heldout/total, is "
            "relative to each run's own."
        )
    return said


def markdown(comparison: Comparison, command: str) -> str:
    """Return the comparison as a Markdown page: the table, and what has to be known to read it.

    As in the sheet, a model is a column: so the table stays readable in TensorBoard and consoles.
    """
    rows = comparison.rows
    keys = sorted({key for row in rows for key in row.settings})
    tags = dict.fromkeys(tag for row in rows for tag in main_terms(row.losses))
    facts = {
        "run": [row.name for row in rows],
        **{key: [_setting(row.settings, key) for row in rows] for key in keys[:_SETTINGS_SHOWN]},
        **{tag: [number(row.losses.get(tag), ".3f") for row in rows] for tag in tags},
        "loss network": [row.loss_network for row in rows],
        "images seen": [number(row.seen_images, ",") for row in rows],
        "training time": [number(row.training_seconds, ",.0f", " s") for row in rows],
        "parameters": [number(row.parameters, ",") for row in rows],
        "file": [f"{row.megabytes:.2f} MB" for row in rows],
        "ms a picture": [f"{row.milliseconds:.1f}" for row in rows],
        "pictures/s": [f"{row.pictures_per_second:.1f}" for row in rows],
    }
    engines = {row.engine for row in rows}
    if len(engines) > 1:
        facts["run by"] = [row.engine for row in rows]
    header, *body = ([name, *cells] for name, cells in facts.items())
    lines = [f"`{command}`", "", *table(header, body)]
    engine = f", {engines.pop()}" if len(engines) == 1 else ""
    lines += [
        "",
        f"Speed: a picture of {comparison.size}x{comparison.size} at a time, medians of {ROUNDS} "
        f"rounds in turns; {comparison.machine}{engine}.",
    ]
    notes = list(comparison.notes)
    if more := keys[_SETTINGS_SHOWN:]:
        notes.insert(0, f"{len(more)} more settings differ: {', '.join(more)}.")
    for note in notes:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def write_comparison(folder: Path, comparison: Comparison, command: str) -> list[Path]:
    """Write the sheet, the table as Markdown and as JSON, and all for TensorBoard; return them.

    What an earlier comparison left in the folder is replaced, and nothing else.
    """
    page = markdown(comparison, command)
    content = {
        "command": command,
        "size": comparison.size,
        "rounds": ROUNDS,
        "machine": comparison.machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "notes": comparison.notes,
        "runs": [
            {**dataclasses.asdict(row), "pictures_per_second": row.pictures_per_second}
            for row in comparison.rows
        ],
    }
    texts = {"comparison.md": page, "comparison.json": json.dumps(content, indent=2) + "\n"}
    write_image(comparison.sheet, folder / "comparison.jpg")
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text)
    earlier = list(folder.glob(f"events.out.tfevents.*{_EVENTS_SUFFIX}"))
    with SummaryWriter(str(folder), filename_suffix=_EVENTS_SUFFIX) as writer:
        writer.add_image("comparison/sheet", comparison.sheet[0])
        writer.add_text("comparison/table", page)
    for events in earlier:
        events.unlink()
    return [folder / name for name in ("comparison.jpg", *texts)]


def load_models(
    given: Sequence[str], device: str, dtype: str = "auto"
) -> tuple[dict[Path, Stylizer], list[str]]:
    """Return the models by the paths of their files, and what is there but is no model.

    Args:
        given: what `fst.models.model_file.find_model` takes.
        device: as `fst.stylizing.stylizer.load` takes it.
        dtype: as `fst.stylizing.stylizer.load` takes it; exported models have their own.

    Raises:
        FileNotFoundError: there is no such model, or none at all.
        UserError: a damaged model.
    """
    stylizers: dict[Path, Stylizer] = {}
    left_alone = []
    for name in given:
        try:
            found = find_model(name)
        except FileNotFoundError:
            if not Path(name).exists():
                raise
            left_alone.append(name)
            continue
        path = found.parent.resolve() / found.name
        if path in stylizers:
            continue
        try:
            stylizers[path] = load(path, device, "auto" if path.suffix in EXPORTED else dtype)
        except ValueError:
            if path.suffix in (".safetensors", *EXPORTED):
                raise
            left_alone.append(name)  # such as a .yaml between the runs of a sweep
    if left_alone and not stylizers:
        raise FileNotFoundError(
            f"no model is in {few(left_alone)}: give run folders (runs/painting/* for all of a "
            "sweep), model files or names"
        )
    if not stylizers:
        raise UserError("no model is given: name run folders, model files or released models")
    return stylizers, left_alone


def photographs_of(
    folder: Path | None, infos: dict[str, ModelInfo], count: int, side_px: int
) -> tuple[Tensor, Skipped]:
    """Return photographs to judge models by, and those that could not be read.

    Args:
        folder: where they lie; None takes what the first model's training held out.
        infos: the models, by name.
        count: how many at most.
        side_px: what they are scaled to, cut square from the middle.

    Returns:
        uint8 (N, 3, `side_px`, `side_px`), N at least 1; names and reasons.

    Raises:
        FileNotFoundError: there are none.
    """
    if folder is not None:
        return squared_pictures(folder, count, side_px)
    name = next((name for name, info in infos.items() if info.training_config), next(iter(infos)))
    try:
        pictures, skipped = heldout_of(infos[name].training_config, count, side_px)
    # KeyError and TypeError: a configuration that another version of fst wrote.
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileNotFoundError(
            f"the held-out photographs of {name} can't be had ({one_line(error)}): give "
            "--photographs DIR"
        ) from error
    if not len(pictures):
        raise FileNotFoundError(f"{name} held no photographs out: give --photographs DIR")
    return pictures, skipped


def _time(
    stylizers: Sequence[Stylizer], picture: Tensor, progress: Callable[[str], None]
) -> list[float]:
    """Return for each model the median of the milliseconds that a picture, (1, 3, H, W), takes."""
    there = [picture.to(stylizer.device) for stylizer in stylizers]
    seconds: list[list[float]] = [[] for _ in stylizers]
    for done in range(ROUNDS):
        progress(f"timing, round {done + 1} of {ROUNDS}")
        for stylizer, image, taken in zip(stylizers, there, seconds, strict=True):
            taken.append(seconds_of(stylizer.device, stylizer, image))
    return [statistics.median(taken) * 1e3 for taken in seconds]


def _row(
    name: str, path: Path, stylizer: Stylizer, settings: dict[str, Any], milliseconds: float
) -> Row:
    info, network = stylizer.info, stylizer.network
    run = RunFolder(path.parent)
    return Row(
        name=name,
        model=str(path),
        settings=settings,
        losses={f"heldout/{term}": value for term, value in info.losses.items()},
        loss_network=info.loss_network,
        seen_images=info.seen_images or None,
        training_seconds=run.training_seconds(info.seen_images) if path == run.model else None,
        parameters=count_parameters(network) if isinstance(network, TransformerNetwork) else None,
        megabytes=path.stat().st_size / 1e6,
        engine=stylizer.engine,
        milliseconds=milliseconds,
    )


def _differing(settings: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[str]:
    """Return those of the keys that do not have one value in all of the settings."""
    return [key for key in keys if any(s.get(key) != settings[0].get(key) for s in settings)]


def passed_over(left_alone: Sequence[str], skipped: Skipped) -> list[str]:
    """Return a line about what was given and is no model, and one about unreadable pictures."""
    notes = []
    if left_alone:
        notes.append(f"{len(left_alone)} left alone, being no model: {few(left_alone)}.")
    if skipped:
        reasons = [f"{name} ({reason})" for name, reason in skipped]
        notes.append(f"{len(skipped)} unreadable pictures skipped: {few(reasons)}.")
    return notes


def _setting(settings: dict[str, Any], key: str) -> str:
    """Return a setting as the command line has it, or nothing if there is none."""
    if key not in settings:
        return ""
    value = settings[key]
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return value if isinstance(value, str) else json.dumps(value)
