"""The models that ship with fst: their names, what is known about them, and their checksums."""

import difflib
import hashlib
import math
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from fst.errors import UserError
from fst.models.model_info import read_info
from fst.networks.registry import UPSCALERS

CHECKSUMS = "SHA256SUMS"
"""The file in the folder of released models that lists their checksums, as `sha256sum` does."""


@dataclass(frozen=True)
class ReleasedModel:
    """A model that ships with fst."""

    name: str
    """What to call it by: `fst stylize NAME photo.jpg -o out.jpg`."""
    title: str
    """The painting, or what it enlarges."""
    artist: str
    year: str
    network: str
    parameters: int
    size_bytes: int
    licence: str
    note: str
    """What it does well and badly, in a line."""
    styles: tuple[str, ...]
    """Of a model of several styles their names, as in `NAME:STYLE`; else none."""
    takes_any: bool
    """Whether any painting is a style of it, as in `NAME:PAINTING.jpg`."""

    @property
    def enlarges(self) -> bool:
        """Whether it is for super-resolution (`fst upscale`), not for a style."""
        return self.network in UPSCALERS


def released_folder() -> Path:
    """Return the folder of the released models."""
    return Path(str(resources.files("fst.checkpoints")))


def released_names() -> list[str]:
    """Return the names of the released models, sorted."""
    return sorted(file.stem for file in released_folder().glob("*.safetensors"))


def released_models() -> list[ReleasedModel]:
    """Return what is known about each released model, sorted by name; no weights are read."""
    models = []
    for name in released_names():
        path = released_path(name)
        info, shapes = read_info(path)
        models.append(
            ReleasedModel(
                name,
                info.title,
                info.card.get("artist", ""),
                info.card.get("year", ""),
                info.network,
                sum(map(math.prod, shapes.values())),
                path.stat().st_size,
                info.licence,
                info.card.get("note", ""),
                tuple(style.name for style in info.styles),
                bool(info.predictor_px),
            )
        )
    return models


def released_path(name: str) -> Path:
    """Return the file of the released model with this name."""
    return released_folder() / f"{name}.safetensors"


def closest_names(name: str) -> list[str]:
    """Return up to three names of released models, or of their styles, similar to `name`."""
    similar = {
        style: f"{model.name}:{style}" for model in released_models() for style in model.styles
    }
    similar |= {known.lower(): known for known in released_names()}
    wanted = name.lower().replace(" ", "_").replace("-", "_")
    return [similar[key] for key in difflib.get_close_matches(wanted, similar)]


def verify_released(path: Path) -> None:
    """Compare a released model with its checksum; other files are not checked.

    Raises:
        UserError: the file was changed or damaged, or has no checksum.
    """
    folder = released_folder()
    if path.resolve().parent != folder.resolve():
        return
    expected = read_checksums(folder).get(path.name)
    if expected is None:
        raise UserError(f"{path} has no checksum in {CHECKSUMS}: release it with release_model.py")
    if checksum(path) != expected:
        raise UserError(f"{path} does not match its checksum in {CHECKSUMS}: reinstall fst")


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the checksums of a folder's files by name; none if there is no list of them."""
    file = folder / CHECKSUMS
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return {name: digest for digest, name in (line.split() for line in lines if line.strip())}


def checksum(path: Path) -> str:
    """Return the file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
