"""The log: one JSON object a line on standard output, of requests and of what libraries say."""

import json
import logging
import traceback
from datetime import UTC, datetime

from fst.terminal import say_if_heard


def write(**fields: object) -> None:
    """Write a line: the time, and fields that JSON can hold."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    say_if_heard(json.dumps({"time": time, **fields}))


def take_over_logging() -> None:
    """Have every library's warnings, and what uvicorn says of itself, become lines of the log."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()], force=True)
    logging.getLogger("uvicorn").setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # warns of every odd request


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info and record.exc_info[1]
        found = {"traceback": traceback_of(error)} if error else {}
        write(level=record.levelname.lower(), message=record.getMessage().strip(), **found)


def traceback_of(error: BaseException) -> str:
    """Return an error with the lines of code that led to it."""
    return "".join(traceback.format_exception(error))
