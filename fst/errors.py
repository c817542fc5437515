"""How a command ends when something is wrong: one clear line and an exit status, no traceback."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fst.terminal import flush, note


class UserError(ValueError):
    """A mistake that the user can correct; the message says what was wrong and what to do."""


class NoStyleChosenError(UserError):
    """A model of several styles was given without a choice of one."""


class TrainingStoppedError(RuntimeError):
    """Training cannot continue, although nothing was wrong with the request."""


class CameraLostError(RuntimeError):
    """The camera worked at first, then stopped delivering frames."""


class Terminated(KeyboardInterrupt):  # noqa: N818, no error
    """SIGTERM or SIGHUP, taken like Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__()


def ending_signals() -> list[int]:
    """Return the signals that ask to end: SIGTERM, and SIGHUP, of a terminal that was closed.

    `nohup` has SIGHUP ignored, which then stays so. Windows lacks it.
    """
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, signal.SIGHUP]


def is_hangup(number: int) -> bool:
    """Say whether a signal is SIGHUP, sent by the kernel when a terminal closes, and the shell."""
    return sys.platform != "win32" and number == signal.SIGHUP


def raise_on_termination() -> None:
    """Have SIGTERM and SIGHUP raise `Terminated`, so that a command leaves no partial files."""

    def stop(number: int, frame: FrameType | None) -> None:
        if is_hangup(number):
            signal.signal(number, signal.SIG_IGN)
        raise Terminated(number)

    for number in ending_signals():
        signal.signal(number, stop)


@contextmanager
def one_line_errors(
    program: str, less_memory: str = "use smaller pictures or the CPU"
) -> Iterator[None]:
    """Print an expected error as one line on stderr and exit: 2 for the user's, 1 for the rest.

    Expected are `UserError`, `OSError` (a missing file, a full disk), `ImportError` (an extra that
    is not installed), and running out of memory. Everything else is a bug and keeps its traceback.
    `FST_TRACEBACK=1` in the environment shows every traceback. What fails in TensorBoard's thread
    is printed once: its writer raises it again. Output that nobody reads on, as in
    `fst models | head -1`, ends the command without a word.

    Args:
        program: The command's name, printed before the message.
        less_memory: What to do when memory runs out, appended to that message.
    """
    report_thread_error, threading.excepthook = threading.excepthook, _report_thread_error
    try:
        try:
            yield
        finally:
            flush()
    except BrokenPipeError:  # as in `fst models | head`: nobody reads on
        sys.exit(141)  # as a shell reports SIGPIPE, which Windows lacks
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Terminated) else signal.SIGINT
        what = "interrupted" if number == signal.SIGINT else "terminated"
        note(" ".join([f"{program}: {what}", *str(stop).split()]))
        sys.exit(128 + number)
    except Exception as error:
        status, message = 2, one_line(error)
        if isinstance(error, TrainingStoppedError | CameraLostError):
            status = 1
        elif is_out_of_memory(error):
            status, message = 1, f"out of memory: {less_memory} ({message})"
        elif not is_expected(error):
            raise
        if os.environ.get("FST_TRACEBACK"):
            raise
        note(f"{program}: {message}")
        sys.exit(status)
    finally:
        threading.excepthook = report_thread_error


def _report_thread_error(error: threading.ExceptHookArgs) -> None:
    if not type(error.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(error)


def is_expected(error: BaseException) -> bool:
    """Say whether an error is the user's, the machine's or FFmpeg's; others are bugs."""
    of_ffmpeg = type(error).__module__ == "av.error"  # PyAV is an extra, and not imported for this
    return of_ffmpeg or isinstance(error, UserError | OSError | ImportError)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether Python or torch, on the CPU or an accelerator, failed to allocate memory."""
    # torch is not imported for this: `fst --help` must not wait for it. On the CPU it raises a
    # plain RuntimeError.
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def one_line(error: BaseException) -> str:
    """Return the error's message with its lines joined, or its name if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
