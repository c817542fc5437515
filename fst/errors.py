"""How a command ends when something is wrong: one clear line and an exit status, no traceback."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class TrainingStoppedError(RuntimeError):
    """Training cannot go on, though nothing was wrong with what was asked for."""


class CameraLostError(RuntimeError):
    """The camera worked, and stopped giving frames."""


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Print an expected error as one line on stderr and exit: 2 for the user's, 1 for the rest.

    `FST_TRACEBACK=1` in the environment shows where it came from.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError, ImportError, TrainingStoppedError, CameraLostError) as error:
        if os.environ.get("FST_TRACEBACK"):
            raise
        print(f"{program}: {one_line(error)}", file=sys.stderr)
        sys.exit(1 if isinstance(error, TrainingStoppedError | CameraLostError) else 2)


def one_line(error: BaseException) -> str:
    """Return the error's message with its lines joined, or its name if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
