"""The settings of what is trained on: one style picture, or several."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from fst.config.checks import at_least, existing
from fst.errors import UserError


@dataclass
class StyleConfig:
    """What one style picture and several have in common."""

    size_px: int = 448
    """Its shorter side when the loss measures it: larger gives larger strokes."""
    title: str | None = None
    """Stored in the model file; null uses the name of the picture's file, or of the folder."""

    def __post_init__(self) -> None:
        at_least("style.size_px", self.size_px, 32)

    @property
    def paths(self) -> list[str]:
        """The pictures, and folders of pictures."""
        raise NotImplementedError


@dataclass
class PictureConfig(StyleConfig):
    """One style picture."""

    picture: str = MISSING
    """The file; `style=FILE` is short for `style.picture=FILE`."""

    def __post_init__(self) -> None:
        existing("style.picture", self.picture)
        super().__post_init__()
        self.title = self.title or Path(self.picture).stem

    @property
    def paths(self) -> list[str]:
        """The picture alone."""
        return [self.picture]


@dataclass
class PicturesConfig(StyleConfig):
    """Several style pictures, for one network that knows all of them."""

    pictures: list[str] = MISSING
    """The files, or folders of them; `styles=FOLDER` and `styles=[A,B]` are short for it. Each
    style is named after its file."""

    def __post_init__(self) -> None:
        if not self.pictures:
            raise UserError("style.pictures is empty: give styles=FOLDER or styles=[A,B]")
        for path in self.pictures:
            existing("style.pictures", path)
        super().__post_init__()
        self.title = self.title or (
            Path(self.pictures[0]).resolve().stem if len(self.pictures) == 1 else "styles"
        )

    @property
    def paths(self) -> list[str]:
        """The pictures and folders."""
        return self.pictures
