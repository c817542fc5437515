"""What is measured: the models that were given, their names, and photographs to measure them on.

Model files may come from anyone. Nothing that their metadata names is downloaded or executed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from fst.data.heldout import heldout_of, read_squares
from fst.data.sources import Skipped
from fst.errors import NoStyleChosenError, UserError, one_line
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef, find_model
from fst.report import few
from fst.stylizing.stylizer import Stylizer, open_stylizer
from fst.training.run_folder import RunFolder


@dataclass
class Models:
    """The models that were found, and what was skipped."""

    stylizers: dict[ModelRef, Stylizer] = field(default_factory=dict)
    not_models: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    """`.pt2` files among the paths, which were not opened."""
    of_several_styles: list[str] = field(default_factory=list)
    """Models with several styles, of which none was chosen."""
    said: list[str] = field(default_factory=list)
    """Lines about what was skipped when a model was found and read."""

    @property
    def refs(self) -> list[ModelRef]:
        """The models' files and styles."""
        return list(self.stylizers)

    @property
    def infos(self) -> list[ModelInfo]:
        """The models' metadata."""
        return [stylizer.info for stylizer in self.stylizers.values()]

    @property
    def names(self) -> list[str]:
        """The models' names; see `run_names`."""
        return run_names(self.refs)

    @property
    def notes(self) -> list[str]:
        """Return what was said, and a line for each kind of path that was skipped."""
        notes = list(self.said)
        if count := len(self.not_models):
            notes.append(
                f"Skipped {_count(count, 'path')} without a model: {few(self.not_models)}."
            )
        if count := len(self.packages):
            notes.append(
                f"Skipped {_count(count, '.pt2 file')}, because these execute native code (add one "
                f"with --pt2 FILE): {few(self.packages)}."
            )
        if count := len(self.of_several_styles):
            notes.append(
                f"Skipped {_count(count, 'model')} of several styles (choose MODEL:STYLE): "
                f"{few(self.of_several_styles)}."
            )
        return notes


def load_models(
    given: Sequence[str], packages: Sequence[Path], device: str, dtype: str = "auto"
) -> Models:
    """Return the models that were given.

    Args:
        given: what `fst.models.model_ref.find_model` takes; existing paths without a model are
            skipped, and so are `.pt2` files, as a shell's pattern may have matched them.
        packages: `.pt2` files to include; loading one executes its native code.
        device: as for `fst.stylizing.stylizer.load`.
        dtype: as for `fst.stylizing.stylizer.load`; exported models have their own.

    Raises:
        FileNotFoundError: a model does not exist, or none was found.
        UserError: a model is damaged, or `packages` has a file of another kind.
    """
    models = Models()
    for name in given:
        try:
            found = find_model(name, models.said.append)
        except FileNotFoundError:
            if not Path(name).exists():
                raise
            models.not_models.append(name)
            continue
        if found.path.suffix == ".pt2":
            models.packages.append(name)
        else:
            try:
                _load(models, found, name, device, dtype)
            except NoStyleChosenError:
                models.of_several_styles.append(name)
    for package in packages:
        if package.suffix != ".pt2":
            raise UserError(f"--pt2 {package} is not a .pt2 file: give it without --pt2")
        _load(models, find_model(package), str(package), device, dtype)
    opened = {ref.path for ref in models.stylizers}
    models.packages = [name for name in models.packages if _resolve(Path(name)) not in opened]
    _refuse_none(models)
    return models


def run_names(models: Sequence[ModelRef]) -> list[str]:
    """Return the shortest names that distinguish models.

    They are the last parts of their paths; in a sweep (`loss.style_weight=2+seed=1`) settings that
    all have in common are left out, and so are the names of configuration groups.
    """
    runs = [_run(ref.path) for ref in models]
    stems = [run or ref.path.with_suffix("") for run, ref in zip(runs, models, strict=True)]
    whole = [_parts(stem, ref.choice) for stem, ref in zip(stems, models, strict=True)]
    if len(set(whole)) < len(whole):  # one model as .safetensors and as .onnx
        files = [run or ref.path for run, ref in zip(runs, models, strict=True)]
        whole = [_parts(file, ref.choice) for file, ref in zip(files, models, strict=True)]
    ends = [["/".join(parts[-n:]) for n in range(1, len(parts) + 1)] for parts in whole]
    taken = [end for own in ends for end in own]
    names = [next(end for end in own if taken.count(end) == 1) for own in ends]
    parts = [re.split(r"\+(?=[\w.]+=)", name) for name in names]
    common = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    shorter = [
        "+".join(re.sub(r"^[\w.]*\.(?=\w+=)", "", part) for part in own if part not in common)
        for own in parts
    ]
    return shorter if all(shorter) and len(set(shorter)) == len(shorter) else names


def photographs_for(
    models: Models, folder: Path | None, count: int, side_px: int
) -> tuple[Tensor, Skipped]:
    """Return photographs to measure models on, and those that could not be read.

    Args:
        models: what `load_models` returned.
        folder: of photographs; None takes what the first run folder among the models held out. A
            model file outside a run folder may be a stranger's, so the folders it names are not
            opened.
        count: how many at most.
        side_px: they are cut square from the middle and scaled to this side.

    Returns:
        uint8 (N, 3, `side_px`, `side_px`), N at least 1; names and reasons.

    Raises:
        FileNotFoundError: there are none.
    """
    if folder is not None:
        return read_squares(folder, count, side_px)
    advice = "give --photographs DIR"
    entries = zip(models.names, models.refs, models.infos, strict=True)
    own = ((name, info) for name, ref, info in entries if is_in_run_folder(ref.path))
    name, info = next(own, ("", None))
    if info is None:
        raise FileNotFoundError(
            f"no run folder among the models has held-out photographs: {advice}"
        )
    try:
        pictures, skipped = heldout_of(info.training_config, count, side_px)
    except (OSError, UserError) as error:
        raise FileNotFoundError(
            f"cannot load {name}'s held-out photographs ({one_line(error)}): {advice}"
        ) from error
    if not len(pictures):
        raise FileNotFoundError(f"{name} held out no photographs: {advice}")
    return pictures, skipped


def unreadable_notes(skipped: Skipped) -> list[str]:
    """Return a line about the photographs that could not be read, if there are any."""
    reasons = [f"{name} ({reason})" for name, reason in skipped]
    return [f"Skipped {_count(len(skipped), 'unreadable photograph')}: {few(reasons)}."] * bool(
        skipped
    )


def is_in_run_folder(model: Path) -> bool:
    """Return whether the model's file lies in a run folder of its own training."""
    folder = _run(model)
    return folder is not None and RunFolder(folder).config.is_file()


def _run(model: Path) -> Path | None:
    """Return the folder that a run's model file lies in, or None."""
    return model.parent if model == RunFolder(model.parent).model else None


def _parts(path: Path, choice: str) -> tuple[str, ...]:
    """Return the parts of a model's path with its style, those of a painting's path among them."""
    named = str(ModelRef(Path(path.name), choice))
    return (*path.parts[:-1], *filter(None, named.split("/")))


def _refuse_none(models: Models) -> None:
    """Raise an error that says why, unless a model was found."""
    if not models.stylizers and (models.packages or models.of_several_styles):
        raise FileNotFoundError(" ".join(models.notes))
    if not models.stylizers and models.not_models:
        raise FileNotFoundError(
            f"no model in {few(models.not_models)}: give run folders (runs/painting/* for a whole "
            "sweep), model files or names"
        )
    if not models.stylizers:
        raise UserError("no model given: name run folders, model files or released models")


def _load(models: Models, found: ModelRef, name: str, device: str, dtype: str) -> None:
    ref = replace(found, path=_resolve(found.path))
    if ref in models.stylizers:
        return
    try:
        stylizer = open_stylizer(ref, device, "auto" if ref.is_exported else dtype)
    except UserError:
        if ref.is_exported or ref.path.suffix == ".safetensors":
            raise
        models.not_models.append(name)  # such as a .yaml between the runs of a sweep
    else:
        models.stylizers[ref] = stylizer


def _resolve(path: Path) -> Path:
    """Return the path with its folder resolved; the name of a link stays."""
    return path.parent.resolve() / path.name


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
