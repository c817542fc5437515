"""What one server takes on: the flags of `fst serve` that bound its memory and its time."""

from dataclasses import dataclass

from fst.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server; the docstring of each is the help of its flag.

    Raises:
        UserError: a value is out of range.
    """

    max_bytes: int = 32_000_000
    """Most bytes in the body of a request, picture and painting together: longer ones get 413."""
    max_pixels: int = 25_000_000
    """Most pixels in a picture or painting: larger ones get 413, before they are decoded."""
    timeout: float = 60.0
    """Seconds for a request, from its first byte to its result: 408 if the body takes longer, 503
    if it waited the whole time, 504 if the work took too long."""
    queue: int = 16
    """How many requests may wait in addition to those being worked on: any more get 429."""
    workers: int | None = None
    """How many pictures are decoded, stylized and encoded at once. Default: one for each core of
    the CPU, and 8 with a GPU, where those of one size and style share its passes."""

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_pixels", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}={value} must be at least 1")
        if not 0 < self.timeout < 1e6:  # NaN is neither
            raise UserError(f"timeout={self.timeout} must be above 0 and below 1,000,000 seconds")
        if self.queue < 0:
            raise UserError(f"queue={self.queue} must be at least 0")
