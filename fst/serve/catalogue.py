"""The models that a server offers, by name, and their styles. No client names a file."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fst.device import pick_device
from fst.errors import UserError
from fst.models.model import Model
from fst.models.model_file import read_model
from fst.models.model_info import ModelInfo
from fst.models.model_ref import ModelRef, find_model
from fst.models.released import released_models
from fst.models.style_choice import read_painting
from fst.report import few
from fst.stylizing.stylizer import Stylizer, open_stylizer, stylizer_of
from fst.terminal import note

_KEPT_STYLES = 16
"""Styles, blends and paintings that each model keeps ready: of `any`, some 30 MB each at most."""
_ABOUT = ("artist", "year", "rights")


class ServedModel:
    """A model by its name: one style, or several among which each request chooses."""

    def __init__(self, ref: ModelRef, device: str, dtype: str) -> None:
        """Read a model; otherwise as `open_stylizer`."""
        self.name = ref.name
        self.device = device
        self.dtype = dtype
        self.several: Model | None = None
        """What styles are chosen of; None for a model of one style."""
        if not ref.is_exported and not ref.choice:
            model = read_model(ref.path)
            if model.info.has_choice:
                # Under its name: messages go to clients, who must not see paths.
                self.several = replace(model, path=Path(self.name))
        self.info: ModelInfo
        if self.several:
            self.info = self.several.info
        else:
            self.alone = open_stylizer(ref, device, dtype)
            self.info = self.alone.info
        self._opened: OrderedDict[str, Stylizer] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def on_cpu(self) -> bool:
        """Whether its networks run on a CPU."""
        device = pick_device(self.device) if self.several else self.alone.device
        return device.type == "cpu"

    @property
    def styles(self) -> list[str]:
        """The names of its styles; none if it has only one."""
        return [style.name for style in self.info.styles] if self.several else []

    @property
    def takes_paintings(self) -> bool:
        """Whether any painting is a style of it."""
        return self.several is not None and self.several.predicts

    def open(self, style: str, painting: bytes | None) -> Stylizer:
        """Return what stylizes; that of the last styles and paintings is kept.

        Args:
            style: one of `styles`, or a blend, `NAME=SHARE,NAME=SHARE`; empty for a model of one
                style, and with a painting.
            painting: the file's bytes.

        Raises:
            UserError: there is no such style, or the painting cannot be read.
        """
        several = self.several
        if painting is not None:
            if several is None or not several.predicts:
                raise UserError(f"{self.name} does not take paintings: leave out painting")
            if style:
                raise UserError("give a style or a painting, not both")
            content = painting
            key = f"painting:{hashlib.sha256(content).hexdigest()}"
            return self._keep(key, lambda: several.in_style_of(read_painting(content)))
        if several is None:
            if style:
                raise UserError(f"{self.name} has one style: leave out style")
            return self.alone
        if not style:
            names = ", ".join(self.styles)
            raise UserError(
                f"{self.name} has {len(self.styles)} styles: give one as style, or a blend, "
                f"NAME=SHARE,NAME=SHARE{', or a painting' if several.predicts else ''}; they are "
                f"{names}"
            )
        return self._keep(f"style:{style}", lambda: several.in_style(style, files=False))

    def _keep(self, key: str, fold: Callable[[], Model]) -> Stylizer:
        with self._lock:
            if key not in self._opened:
                self._opened[key] = stylizer_of(fold(), self.device, self.dtype)
                if len(self._opened) > _KEPT_STYLES:
                    self._opened.popitem(last=False)
            self._opened.move_to_end(key)
            return self._opened[key]

    def describe(self) -> dict[str, Any]:
        """Return what clients may know of it, as JSON has it."""
        info = self.info
        thumbnail = f"/models/{quote(self.name, safe='')}/thumbnail"
        return {
            "name": self.name,
            "title": info.title,
            **_about(info.card),
            "licence": info.licence,
            "note": info.card.get("note", ""),
            "takes_paintings": self.takes_paintings,
            "thumbnail": thumbnail,
            "styles": [
                {
                    "name": style.name,
                    "title": style.card.get("title", style.name),
                    **_about(style.card),
                    "thumbnail": f"{thumbnail}?style={quote(style.name, safe='')}",
                }
                for style in (info.styles if self.several else [])
            ],
        }


def _about(card: dict[str, str]) -> dict[str, str]:
    return {key: card.get(key, "") for key in _ABOUT}


class Catalogue:
    """The served models by name."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        """Collect models; raise UserError if two have one name."""
        self.models = {model.name: model for model in models}
        if len(self.models) < len(models):
            names = sorted(model.name for model in models)
            twice = next(a for a, b in zip(names, names[1:], strict=False) if a == b)
            raise UserError(
                f"two models are named {twice!r}: serve one of them, or rename its file"
            )

    def __getitem__(self, name: str) -> ServedModel:
        """Return a model; raise UserError if it is not served."""
        if name not in self.models:
            raise UserError(f"no model {name!r}: choose {few(list(self.models))}")
        return self.models[name]


def open_catalogue(given: Sequence[str], device: str = "auto", dtype: str = "auto") -> Catalogue:
    """Return the models that a user names; all released ones that stylize if none is named.

    Raises:
        FileNotFoundError: there is no such model.
        UserError: as `open_stylizer`, or two models have one name.
    """
    names = given or [model.name for model in released_models() if not model.enlarges]
    return Catalogue([ServedModel(find_model(name, note), device, dtype) for name in names])
