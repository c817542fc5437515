"""A model named once: `ModelRef`, made where a command or `fst.load` takes the user's text."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fst.addresses import refuse_address
from fst.config import RUNS_DIR
from fst.models.model_name import split_models, split_style
from fst.models.released import closest_names, released_names, released_path
from fst.models.runtime import EXPORTED
from fst.report import few


@dataclass(frozen=True)
class ModelRef:
    """A model's file, and what is chosen of it."""

    path: Path
    choice: str = ""
    """Of a model of several styles one of them, a painting's file or a folder of paintings, or a
    blend; see `fst.models.model_name.chosen_shares`. Empty chooses nothing."""
    note: Callable[[str], None] = field(default=lambda line: None, compare=False, repr=False)
    """Called with a line about what is skipped when the choice is read."""

    def __str__(self) -> str:
        return f"{self.path}:{self.choice}" if self.choice else str(self.path)

    @property
    def name(self) -> str:
        """The run's, or that of the file."""
        return self.path.parent.name if self.path.stem == "model" else self.path.stem

    @property
    def is_exported(self) -> bool:
        """Whether it is an `.onnx` or `.pt2` file, which runs in an engine of its own."""
        return self.path.suffix in EXPORTED


def find_model(given: str | Path, note: Callable[[str], None] = lambda line: None) -> ModelRef:
    """Return the model that a user names: `MODEL`, `MODEL:STYLE`, `MODEL:PAINTING.jpg` ...

    MODEL is a file, a run folder, the name of a run below `RUNS_DIR` (the default of `runs_dir`) or
    that of a released model. A run comes before a released model of the same name.

    Args:
        given: what the user typed.
        note: called with a line if a run hides a released model, and kept in what is returned.

    Raises:
        FileNotFoundError: there is none; the message lists the closest names.
    """
    refuse_address(str(given))
    name, choice = split_style(given)
    released = released_path(name) if name in released_names() else None
    for candidate in (
        Path(name),
        Path(name) / "model.safetensors",
        Path(RUNS_DIR) / name / "model.safetensors",
    ):
        if candidate.is_file():
            if released is not None and candidate != released:
                note(f"{name}: using {candidate}, not the released model of the same name")
            return ModelRef(candidate, choice, note)
    if released is not None:
        return ModelRef(released, choice, note)
    raise FileNotFoundError(_why_none(name))


def find_models(given: str, note: Callable[[str], None] = lambda line: None) -> list[ModelRef]:
    """Return the models of a comma-separated list, each as `find_model` does."""
    return [find_model(one, note) for one in split_models(given)]


def _why_none(name: str) -> str:
    for folder in (Path(name), Path(RUNS_DIR) / name):
        if runs := sorted(str(file.parent) for file in folder.glob("*/model.safetensors")):
            return f"{folder} is not a run but holds {len(runs)}: choose among {few(runs)}"
    hint = "`fst models` lists the released models, `fst train` trains a new one"
    if closest := closest_names(Path(name).name):
        hint = f"did you mean {' or '.join(closest)}? {hint}"
    return (
        f"no model {name}: not a file, not a run folder with a model.safetensors, not a run in "
        f"{RUNS_DIR}/, not a released model ({hint})"
    )
