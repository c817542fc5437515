"""Trained models side by side: their pictures in one sheet, their settings and figures in a table.

Losses are those that each run recorded on its held-out pictures. Speed is measured here, in rounds
that interleave the models, so that other load on the machine affects all of them.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fst.data.sources import MIN_PX
from fst.device import pick_device
from fst.errors import UserError
from fst.measuring.machine import machine_line, seconds_of
from fst.measuring.subjects import load_models, photographs_for, unreadable_notes
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef
from fst.networks.cost import count_parameters
from fst.networks.transformer import TransformerNetwork
from fst.pictures.image import to_unit_range
from fst.pictures.sheet import GAP_PX, labelled_sheet
from fst.stylizing.stylizer import Stylizer
from fst.training.run_folder import FREE_KEYS, RunFolder, flatten

ROUNDS = 7
"""Timing rounds; the median is reported."""
_NOT_COMPARED = FREE_KEYS | {
    "data.heldout_path",
    "loss_network.name",  # has a row of its own
    "loss_network.weights",
    "loss_network.verify",
}
_HELDOUT_KEYS = ("data.heldout_path", "data.heldout_images", "data.heldout_px")
_DRAWN_BY = ("data.kind", "data.path", "data.files", "data.image_column", "seed")
"""What determines, with `_HELDOUT_KEYS`, the pictures that a run held out of its own data."""
_MAX_SIDE_PX = 65_500
"""The longest side of a JPEG."""


@dataclass
class ComparisonRow:
    """What is known of a model and what was measured here; None means unknown."""

    name: str
    """The shortest name that distinguishes it from the others."""
    model: str
    """Its file."""
    settings: dict[str, Any]
    """The training settings in which the models differ."""
    losses: dict[str, float]
    """The last recorded held-out terms, under their TensorBoard names."""
    loss_network: str
    """The network in whose features they were measured."""
    seen_images: int | None
    training_seconds: float | None
    parameters: int | None
    megabytes: float
    """Size of the file."""
    engine: str
    """What runs it here."""
    milliseconds: float
    """Per picture of the sheet: median."""

    @property
    def pictures_per_second(self) -> float:
        """The rate for one picture after the other."""
        return 1e3 / self.milliseconds


@dataclass
class Comparison:
    """The result of `compare`."""

    rows: list[ComparisonRow]
    sheet: Tensor
    """(1, 3, H, W) in [0, 1]: one row per photograph, one column per model."""
    size: int
    """Side of its pictures, in pixels."""
    machine: str
    notes: list[str]
    """What to know when reading the table."""


def compare(
    given: Sequence[str],
    photographs: Path | None = None,
    images: int = 6,
    size: int = 256,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
    packages: Sequence[Path] = (),
) -> Comparison:
    """Stylize the same photographs with several models and collect what is known of each.

    Args:
        given: what `find_model` takes; paths without a model, and `.pt2` files, are skipped and
            noted.
        photographs: a folder; by default those that the first run folder's training held out.
        images: how many photographs.
        size: their side in pixels; they are cut square from the middle.
        device: `cuda`, `cpu` ...; see `pick_device`.
        progress: called with each step.
        packages: `.pt2` files to include; see `load_models`.

    Raises:
        FileNotFoundError: a model does not exist, none was found, or there are no photographs.
        UserError: a model is damaged, or a setting is out of range.
        ImportError: there is an ONNX model, and onnxruntime is not installed.
    """
    if images < 1:
        raise UserError(f"images={images} must be at least 1")
    if size < MIN_PX:
        raise UserError(f"size={size} must be at least {MIN_PX} pixels")
    chosen_device = pick_device(device)
    models = load_models(given, packages, device)
    stylizers, infos, names = models.stylizers, models.infos, models.names
    longest = max(images, len(stylizers) + 1) * (size + GAP_PX)
    if longest > _MAX_SIDE_PX:
        raise UserError(
            f"a sheet of {images} photographs and {len(stylizers)} models at size={size} is too "
            "large for a JPEG: use fewer, or a smaller size"
        )
    pictures, skipped = photographs_for(models, photographs, images, size)

    contents = torch.split(to_unit_range(pictures), 1)
    columns: list[Sequence[Tensor]] = [contents]
    for name, stylizer in zip(names, stylizers.values(), strict=True):
        progress(f"{name}: stylizing {len(contents)} photographs")
        columns.append([stylizer(content) for content in contents])
    sheet = labelled_sheet(["photograph", *names], list(zip(*columns, strict=True)))
    settings = differing_settings(infos)
    milliseconds = _time(list(stylizers.values()), contents[0], progress)
    rows = [
        _row(name, ref, stylizer, settings[i], milliseconds[i])
        for i, (name, (ref, stylizer)) in enumerate(zip(names, stylizers.items(), strict=True))
    ]
    notes = [*cautions(infos), *models.notes, *unreadable_notes(skipped)]
    return Comparison(rows, sheet, size, machine_line(chosen_device), notes)


def differing_settings(infos: Sequence[ModelInfo]) -> list[dict[str, Any]]:
    """Return for each model those of its settings that differ between models.

    Paths, names, and settings that do not affect the trained model are ignored. For a model without
    a training configuration only the network's arguments are known.
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
    """Return a sentence for each reason why the models' held-out losses are not comparable."""
    measured = [info for info in infos if info.losses]
    notes = []
    if len(networks := sorted({info.loss_network for info in measured})) > 1:
        notes.append(
            f"Measured with different loss networks ({', '.join(networks)}): their held-out losses "
            "are not comparable."
        )
    settings = [flatten(info.training_config) for info in measured if info.training_config]
    own = any(each.get("data.heldout_path") is None for each in settings)
    if keys := _differing(settings, (*_HELDOUT_KEYS, *(_DRAWN_BY if own else ()))):
        notes.append(
            f"Measured on different held-out pictures ({', '.join(keys)}): their losses are not "
            "comparable."
        )
    if keys := _differing(settings, ("style.title", "style.size_px")):
        notes.append(
            f"Different styles ({', '.join(keys)}): heldout/style, and therefore heldout/total, is "
            "relative to each run's own style."
        )
    return notes


def _time(
    stylizers: Sequence[Stylizer], picture: Tensor, progress: Callable[[str], None]
) -> list[float]:
    """Return for each model the median time per picture, (1, 3, H, W), in milliseconds."""
    there = [picture.to(stylizer.device) for stylizer in stylizers]
    seconds: list[list[float]] = [[] for _ in stylizers]
    for done in range(ROUNDS):
        progress(f"timing, round {done + 1} of {ROUNDS}")
        for stylizer, image, taken in zip(stylizers, there, seconds, strict=True):
            taken.append(seconds_of(stylizer.device, stylizer, image))
    return [statistics.median(taken) * 1e3 for taken in seconds]


def _row(
    name: str, ref: ModelRef, stylizer: Stylizer, settings: dict[str, Any], milliseconds: float
) -> ComparisonRow:
    info, network, path = stylizer.info, stylizer.network, ref.path
    run = RunFolder(path.parent)
    return ComparisonRow(
        name=name,
        model=str(ref),
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
    """Return the keys whose value is not the same in all settings."""
    return [key for key in keys if any(s.get(key) != settings[0].get(key) for s in settings)]
