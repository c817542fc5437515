"""Where the time of training steps goes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from torch.profiler import profile, schedule

from fst.data.batches import Batch

_SKIPPED_STEPS = 10
"""These compile, try kernels and fill caches."""
_WARMUP_STEPS = 2
_STEPS = 8
_ROWS = 10
_NAME_LENGTH = 80


def profile_steps(
    batches: Iterable[Batch], trace: Path, say: Callable[[str], None]
) -> Iterator[Batch]:
    """Yield the batches; profile steps 13 to 20, the wait for each batch and what is done with it.

    Args:
        batches: one per step.
        trace: where to write the events. Perfetto and Chrome open the file; so does TensorBoard's
            profiler plugin, if its name ends in `.pt.trace.json`.
        say: prints a line, as of the table of the ten operations that took longest.
    """
    reported = False

    def report(profiler: Any) -> None:
        nonlocal reported
        reported = True
        profiler.export_chrome_trace(str(trace))
        for line in _table(profiler):
            say(line)
        say(f"profile        {trace}")

    steps = schedule(
        skip_first=_SKIPPED_STEPS, wait=0, warmup=_WARMUP_STEPS, active=_STEPS, repeat=1
    )
    with profile(schedule=steps, on_trace_ready=report) as profiler:
        for batch in batches:
            yield batch
            profiler.step()
    if not reported:
        first = _SKIPPED_STEPS + _WARMUP_STEPS + 1
        say(f"no profile: training ended before step {first}, the first one to be profiled")


def _table(profiler: Any) -> list[str]:
    """Return the operations that took longest: a GPU's kernels where there is one."""
    events = [event for event in profiler.key_averages() if not event.is_user_annotation]
    kernels = [event for event in events if event.device_type.name != "CPU"]
    times = [(event.self_device_time_total, event) for event in kernels] or [
        (event.self_cpu_time_total, event) for event in events
    ]
    times.sort(key=lambda each: -each[0])
    total = sum(time for time, _ in times)
    lines = [
        f"{time / 1000 / _STEPS:9.2f} {time / total:6.1%} {event.count / _STEPS:6.0f}  "
        f"{event.key[:_NAME_LENGTH]}"
        for time, event in times[:_ROWS]
    ]
    return ["ms a step  share  calls  operation", *lines]
