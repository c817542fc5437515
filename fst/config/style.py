"""The settings of what is trained on: one style, of a picture or of several works, or many."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from fst.config.checks import LARGEST_PX, at_least, existing, title_of
from fst.errors import UserError

PREDICTOR_PX = (64, 1024)
"""Smallest and largest side of what a predictor sees: smaller pictures have no features at three
sizes, and larger ones take gigabytes."""


@dataclass
class StyleConfig:
    """What one style and several have in common."""

    size_px: int = 448
    """Its shorter side when the loss measures it: larger gives larger strokes."""
    title: str | None = None
    """Stored in the model file; null uses the name of the picture's file, or of the folder."""

    def __post_init__(self) -> None:
        at_least("style.size_px", self.size_px, 32, LARGEST_PX)

    @property
    def smallest_px(self) -> int:
        """The smallest side of a style picture that the loss measures."""
        return self.size_px


@dataclass
class OneStyleConfig(StyleConfig):
    """One style, which is all that the network knows."""


@dataclass
class PictureConfig(OneStyleConfig):
    """One style picture."""

    picture: str = MISSING
    """The file; `style=FILE` is short for `style.picture=FILE`."""

    def __post_init__(self) -> None:
        existing("style.picture", self.picture)
        if Path(self.picture).is_dir():
            raise UserError(
                f"style.picture={self.picture} is a folder: style={self.picture} makes one style "
                f"of all pictures in it, styles={self.picture} a style of each"
            )
        super().__post_init__()
        self.title = self.title or title_of(self.picture)


@dataclass
class WorksConfig(OneStyleConfig):
    """Several works, such as an artist's, that are one style together."""

    works: list[str] = MISSING
    """The pictures, or folders of them; `style=FOLDER` and `style=[A,B]` are short for it. What
    the loss compares is the mean of their statistics. (`styles=` makes a style of each.)"""

    def __post_init__(self) -> None:
        if not self.works:
            raise UserError("style.works is empty: give style=FOLDER or style=[A,B]")
        for path in self.works:
            existing("style.works", path)
        super().__post_init__()
        more = len(self.works) - 1
        self.title = self.title or title_of(self.works[0]) + (f"+{more}" if more else "")


@dataclass
class PicturesConfig(StyleConfig):
    """Several style pictures, for one network that knows all of them."""

    pictures: list[str] = MISSING
    """The files, or folders of them; `styles=FOLDER` and `styles=[A,B]` are short for it. Each
    style is named after its file. (`style=` makes one style of all.)"""

    def __post_init__(self) -> None:
        if not self.pictures:
            raise UserError("style.pictures is empty: give styles=FOLDER or styles=[A,B]")
        for path in self.pictures:
            existing("style.pictures", path)
        super().__post_init__()
        self.title = self.title or (
            title_of(self.pictures[0]) if len(self.pictures) == 1 else "styles"
        )


@dataclass
class AnyStyleConfig(StyleConfig):
    """A folder of many paintings, for one network that takes any painting."""

    path: str = MISSING
    """The folder; `any=FOLDER` is short for `style=any style.path=FOLDER`."""
    size_px: int = 320
    """Their shorter side when results are compared with them, or when one is learnt later."""
    predictor_px: int = 224
    """Their shorter side when the predictor sees one later; more takes longer and is not better."""
    crop_px: int = 192
    """Side of the squares that are cut from the paintings, and measured."""
    min_crop_scale: float = 0.3
    """Smallest side of a square before resizing, as a share of the painting's shorter side."""
    mixed: float = 0.25
    """Share of the images whose style is a mixture of two paintings."""
    heldout_path: str | None = None
    """A folder of paintings to validate with; null holds out some of the others."""
    heldout_styles: int = 8
    """Number of paintings to validate with."""

    def __post_init__(self) -> None:
        for name in ("path", "heldout_path"):
            if (folder := getattr(self, name)) is not None:
                existing(f"style.{name}", folder)
                if not Path(folder).is_dir():
                    raise UserError(f"style.{name}={folder} is not a folder of paintings")
        super().__post_init__()
        low, high = PREDICTOR_PX
        at_least("style.crop_px", self.crop_px, low, LARGEST_PX)
        if not low <= self.predictor_px <= high:
            raise UserError(f"style.predictor_px={self.predictor_px} must be in [{low}, {high}]")
        at_least("style.heldout_styles", self.heldout_styles, 1, 10_000)
        if not 0 < self.min_crop_scale <= 1:
            raise UserError(f"style.min_crop_scale={self.min_crop_scale} must be in (0, 1]")
        if not 0 <= self.mixed <= 1:
            raise UserError(f"style.mixed={self.mixed} must be in [0, 1]")
        self.title = self.title or "any"

    @property
    def smallest_px(self) -> int:
        """The smallest side of a style picture that the loss measures."""
        return min(self.size_px, self.crop_px)
