"""What commands print: lines that any terminal, file or missing stream takes, and progress bars.

No other module prints: names of files and what is written in them come from strangers, and would
otherwise reach the terminal raw.
"""

import errno
import io
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from tqdm import tqdm

_HARMFUL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, what reverses the direction of text, and halves of pairs."""
_A_BYTE = range(0xDC80, 0xDD00)
"""How Python represents the bytes of a name that are not UTF-8."""
_LINE_SECONDS = 10.0


def open_streams() -> None:
    """Have stdout and stderr take whatever libraries print, even where they are missing or closed.

    Every command begins with it. Daemons and `pythonw` have no streams. Where descriptors 0 to 2
    are closed, the next files to be opened would get their numbers, and then whatever a library in
    C prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8")


def say(*lines: object) -> None:
    """Print lines to stdout, above the bars if there are any.

    Raises:
        BrokenPipeError: nobody reads them on.
    """
    _print(lines, sys.stdout)


def say_if_heard(*lines: object) -> None:
    """Print lines to stdout if anybody reads them: a run goes on after a lost connection."""
    with suppress(BrokenPipeError):
        say(*lines)


def note(*lines: object) -> None:
    """Print lines to stderr, above the bars if there are any."""
    _print(lines, sys.stderr)


class SparseLines:
    """Progress as a line on stderr every 10 seconds, where no terminal shows a bar."""

    def __init__(self) -> None:
        self.shown = not is_watched()
        self.printed = time.monotonic()

    def note(self, line: object) -> None:
        """Print a line if there is no terminal, and the last one is old enough."""
        if self.shown and time.monotonic() - self.printed > _LINE_SECONDS:
            self.printed = time.monotonic()
            note(line)


def visible(text: str) -> str:
    r"""Return a text on one line that cannot control a terminal: `\x1b` for an escape character."""
    return _HARMFUL.sub(_escape, text)


def is_watched() -> bool:
    """Say whether stderr is a terminal, where a bar can be seen."""
    return sys.stderr is not None and sys.stderr.isatty()


def flush() -> None:
    """Write what libraries printed to stdout.

    Raises:
        BrokenPipeError: nobody reads it on.
    """
    _print((), sys.stdout)


if TYPE_CHECKING:
    _AnyBar = tqdm[Any]
else:
    _AnyBar = tqdm


class Bar(_AnyBar):
    """A progress bar on stderr."""

    def __init__(
        self, iterable: Iterable[Any] | None = None, hidden: bool = False, **options: Any
    ) -> None:
        """Begin a bar.

        Args:
            iterable: what to count, if anything.
            hidden: show nothing, but count, so that `str` tells how far it is.
            options: tqdm's.
        """
        if hidden or sys.stderr is None:
            # Not on stderr even if delayed: a line printed there would show it.
            options |= {"delay": 1e9, "file": io.StringIO()}
        super().__init__(iterable, dynamic_ncols=True, **options)

    def __str__(self) -> str:
        return _encodable(visible(super().__str__()), sys.stderr)


def _print(lines: Sequence[object], stream: IO[str] | None) -> None:
    if stream is None:
        return
    text = "".join(f"{_encodable(visible(str(line)), stream)}\n" for line in lines)
    try:
        with Bar.external_write_mode(file=stream):
            stream.write(text)
            stream.flush()  # line by line into a pipe or a file, too
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        _discard(stream)
        # Only what asks for stdout ends with its reader. EIO is a terminal that was closed.
        if error.errno == errno.EPIPE and stream is sys.stdout:
            raise


def _discard(stream: IO[str]) -> None:
    """Lead a stream nowhere: what it holds already would fail again when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in _A_BYTE:
        code &= 0xFF
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _encodable(text: str, stream: IO[str] | None) -> str:
    """Return a text with escapes for the characters that the stream's encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
