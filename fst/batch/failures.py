"""Why one of many files failed: a line, and for a bug a log with its traceback."""

import traceback
from datetime import datetime
from pathlib import Path

from fst.batch.files import Job, Outcome
from fst.errors import is_expected, is_out_of_memory, one_line
from fst.stylizing.options import LESS_MEMORY
from fst.terminal import note

LOG_NAME = "fst-errors.log"


def failure(job: Job, error: Exception) -> Outcome:
    """Return the outcome of a job that ended in this error; a bug's traceback is logged."""
    if is_out_of_memory(error):
        return Outcome(job, f"out of memory: {LESS_MEMORY} ({one_line(error)})")
    if is_expected(error):
        return Outcome(job, one_line(error))
    what = f"{type(error).__name__}: {one_line(error)}"
    return Outcome(job, f"a bug in fst, {what}; the traceback is in {_log(job, error)}", bug=True)


def _log(job: Job, error: Exception) -> Path | str:
    """Append the traceback to the log in the result's folder; return the log."""
    log = job.target.parent / LOG_NAME
    text = "".join(traceback.format_exception(error))
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {job.source}\n{text}\n")
    except OSError:
        note(*text.splitlines())
        return "the lines above, as no log can be written there"
    return log
