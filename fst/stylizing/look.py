"""How a stylized picture is to look: one object from the flags or keys to the pixels."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fst.stylizing.options import check_strength, check_strokes

if TYPE_CHECKING:  # `fst webcam --help` needs no torch
    from torch import Tensor


@dataclass(frozen=True)
class Look:
    """How a picture is stylized; `Stylizer` documents each.

    Raises:
        UserError: a value is out of range.
    """

    strength: float = 1.0
    keep_colors: bool = False
    mask: "Tensor | None" = None
    """(1, 1, H, W) in [0, 1], the picture's height and width; (N, 1, H, W) if each has its own."""
    strokes: float = 1.0

    def __post_init__(self) -> None:
        check_strength(self.strength)
        check_strokes(self.strokes)

    def weaken(self, shares: "Tensor") -> "Look":
        """Return a look with the strength times `shares`, (1 or N, 1, H, W) in [0, 1]."""
        return replace(self, mask=shares if self.mask is None else self.mask * shares.to(self.mask))

    def of(self, number: int) -> "Look":
        """Return the look of one of N pictures."""
        if self.mask is None or len(self.mask) == 1:
            return self
        return replace(self, mask=self.mask[number : number + 1])

    def within(self, rows: slice, columns: slice) -> "Look":
        """Return the look of a part of the picture."""
        return self if self.mask is None else replace(self, mask=self.mask[..., rows, columns])
