"""How to enlarge: the settings that pictures and videos share, and the flags of `fst upscale`."""

from dataclasses import dataclass

from fst.stylizing.options import check_quality, check_size, check_tile_px


@dataclass(frozen=True, kw_only=True)
class EnlargeOptions:
    """Settings of enlarging; the docstring of each is the help of its flag.

    Raises:
        UserError: a value is out of range.
    """

    scale: float | None = None
    """Enlargement, from 1 to the model's factor, which is the default."""
    size: int | None = None
    """Scale the shorter side to this many pixels first."""
    tile_px: int | None = None
    """Tile side in the small picture; 0 never tiles. Results are the same."""
    quality: int = 95
    """Quality of JPEG and WebP files, 1 to 100."""

    def __post_init__(self) -> None:
        check_size(self.size)
        check_tile_px(self.tile_px)
        check_quality(self.quality)
