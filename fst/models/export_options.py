"""What an exported file takes and returns: the options, and the flags of `fst export`."""

from dataclasses import dataclass
from typing import Literal

from fst.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an exported file; the docstring of each is the help of its flag.

    Raises:
        UserError: a value is out of range, or two contradict each other.
    """

    half: bool = False
    """Compute in half precision (fp16; in a .pt2 for the CPU bf16), fp32 in and out."""
    uint8: bool = False
    """Take and return bytes (N, H, W, 3) instead of floats (N, 3, H, W) in [0, 1]."""
    size: str | None = None
    """HEIGHTxWIDTH, for runtimes that need a fixed size; otherwise any size is accepted."""
    device: str = "auto"
    """What a .pt2 is compiled for: cuda, cpu ..."""
    range: Literal[1, 255] = 1
    """The value of white in and out: 1, or 255 for OpenCV's own style transfer sample."""
    blend: bool = False
    """Keep all K styles of a model in the .onnx, with their shares, (N, K), as a second input."""

    def __post_init__(self) -> None:
        if self.height_width is not None and min(self.height_width) < 1:
            raise UserError(f"size={self.size} must be at least 1x1")
        if self.range not in (1, 255):
            raise UserError(f"range={self.range} must be 1 or 255")
        if self.uint8 and self.range != 1:
            raise UserError("--uint8 already takes and returns 0-255: omit --range")

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The fixed height and width in pixels, or None."""
        if self.size is None:
            return None
        numbers = self.size.split("x")
        if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
            raise UserError(f"size={self.size} must be HEIGHTxWIDTH, such as 480x640")
        return int(numbers[0]), int(numbers[1])
