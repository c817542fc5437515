"""How to stylize: the settings that pictures and videos share, and the flags of `fst stylize`."""

from dataclasses import dataclass
from pathlib import Path

from fst.errors import UserError

MIN_TILE_PX = 32
MAX_STRENGTH = 1.5
"""The largest strength of models whose strength was trained; for others it is 1."""
STROKES = (0.25, 16)
"""Smallest and largest factor of the strokes' size."""
LOOKS_BEST_PX = 512
"""Shorter side of the pictures that networks paint best, as they were trained on smaller ones."""
_NOT_WORTH_IT = 1.25  # a factor up to which strokes stay as trained
LESS_MEMORY = "use a smaller --size, smaller tiles (--tile-px) or --device cpu"
"""What to do when memory runs out."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of stylizing; the docstring of each is the help of its flag.

    Raises:
        UserError: a value is out of range.
    """

    strength: float = 1.0
    """1 is the model's result, 0 the picture itself; up to 1.5 with a model that takes any
    painting."""
    keep_colors: bool = False
    """Keep the picture's colours and take only the luminance from the result."""
    size: int | None = None
    """Scale the shorter side to this many pixels first."""
    strokes: float | None = None
    """How large strokes and shapes are: 1 as trained, 2 twice that. Default: larger in large
    pictures, so that they look as they do at 512 pixels."""
    mask: Path | None = None
    """A picture, stretched over each input: white is stylized, black or transparent kept."""
    protect_faces: bool = False
    """Halve the strength on faces, with soft edges; pictures only. Needs the extra evaluate."""
    tile_px: int | None = None
    """Tile side for large pictures; 0 never tiles. Default: tile those above 4 megapixels."""
    smooth: float = 0.0
    """Less flicker in videos: share of the last frame that is kept, following motion, in [0, 1)."""
    quality: int = 95
    """Quality of JPEG and WebP files, 1 to 100; 85 makes them about three times smaller."""

    def __post_init__(self) -> None:
        check_strength(self.strength)
        check_size(self.size)
        if self.strokes is not None:
            check_strokes(self.strokes)
        check_tile_px(self.tile_px)
        if not 0 <= self.smooth < 1:
            raise UserError(f"smooth={self.smooth} must be in [0, 1)")
        check_quality(self.quality)

    def strokes_in(self, height: int, width: int, fixed: bool = False) -> float:
        """Return how large strokes are in a picture of this size.

        Args:
            height: of the picture.
            width: of the picture.
            fixed: whether the model takes pictures of one size only, and so has one of strokes.
        """
        if self.strokes is not None:
            return self.strokes
        if fixed:
            return 1.0
        factor = min(height, width) / LOOKS_BEST_PX
        return min(factor, STROKES[1]) if factor > _NOT_WORTH_IT else 1.0


def check_strength(strength: float, most: float = MAX_STRENGTH) -> None:
    """Raise UserError if a strength is out of range, or more than a model's largest."""
    if not 0 <= strength <= MAX_STRENGTH:
        raise UserError(f"strength={strength} must be in [0, {MAX_STRENGTH}]")
    if strength > most:
        raise UserError(f"strength={strength}: above 1 it needs a model that takes any painting")


def check_strokes(strokes: float) -> None:
    """Raise UserError if the strokes' size is out of range."""
    low, high = STROKES
    if not low <= strokes <= high:
        raise UserError(f"strokes={strokes} must be in [{low}, {high}]")


def check_size(size: int | None) -> None:
    """Raise UserError if pictures are to be scaled to less than a pixel."""
    if size is not None and size < 1:
        raise UserError(f"size={size} must be at least 1 pixel")


def check_tile_px(tile_px: int | None) -> None:
    """Raise UserError if tiles are too small."""
    if tile_px is not None and tile_px != 0 and tile_px < MIN_TILE_PX:
        raise UserError(f"tile_px={tile_px} must be 0 (no tiles) or at least {MIN_TILE_PX}")


def check_quality(quality: int) -> None:
    """Raise UserError if the quality of JPEG and WebP files is out of range."""
    if not 1 <= quality <= 100:
        raise UserError(f"quality={quality} must be in [1, 100]")
