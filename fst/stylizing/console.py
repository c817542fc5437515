"""What commands say as they work: bars on a terminal, lines now and then where there is none."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from fst.models.runtime import ExportedNetwork
from fst.stylizing.files import Job, Outcome
from fst.stylizing.stylizer import Stylizer

_LINE_SECONDS = 10.0
"""Where there is no terminal, long work says how far it is about so often."""


class StylizeConsole:
    """Shows what becomes of the files, and counts: a bar for all, one for the frames of a video."""

    def __init__(self, total: int) -> None:
        """Expect `total` outcomes."""
        self.done: list[Job] = []
        self.failed: list[Outcome] = []
        self.quiet = not sys.stderr.isatty()
        self.bar = tqdm(total=total, unit="file", disable=self.quiet, dynamic_ncols=True)
        self.frame_bar: tqdm[Any] | None = None
        self.told = time.monotonic()

    def close(self) -> None:
        """End the bars."""
        self._end_frames()
        self.bar.close()

    def tell_engines(self, stylizers: dict[str, Stylizer]) -> None:
        """Say what runs those of the models that were exported, by name."""
        for name, stylizer in stylizers.items():
            if isinstance(stylizer.network, ExportedNetwork):
                tqdm.write(f"{name}: {stylizer.engine}", file=sys.stderr)

    def tiles(self, share: float) -> None:
        """Show how much of a large picture is done."""
        self.bar.set_postfix_str(f"{share:.0%} of a large picture" if share < 1 else "")
        self._tell(f"{share:.0%} of a large picture")

    def frames(self, done: int, total: int | None) -> None:
        """Show how many frames of a video are done, how fast, and the time left."""
        # Where it is quiet the bar still counts, so that its lines can be told.
        bar: tqdm[Any] = self.frame_bar or tqdm(
            unit="frame", leave=False, dynamic_ncols=True, delay=1e9 if self.quiet else 0
        )
        self.frame_bar = bar
        bar.total = total
        bar.update(done - bar.n)
        self._tell(str(bar))

    def _tell(self, line: str) -> None:
        if self.quiet and time.monotonic() - self.told > _LINE_SECONDS:
            self.told = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def _end_frames(self) -> None:
        if self.frame_bar is not None:
            self.frame_bar.close()
            self.frame_bar = None

    def show(self, outcomes: Iterable[Outcome]) -> None:
        """Show each as it comes."""
        for outcome in outcomes:
            self._end_frames()
            if outcome.error is None:
                self.done.append(outcome.job)
                notes = f" ({'; '.join(outcome.notes)})" if outcome.notes else ""
                tqdm.write(f"{outcome.job.source} -> {outcome.job.target}{notes}")
            else:
                self.failed.append(outcome)
                message = outcome.error
                if str(outcome.job.source) not in message:
                    message = f"{outcome.job.source}: {message}"
                tqdm.write(f"fst: {message}", file=sys.stderr)
            self.bar.n = len(self.done) + len(self.failed)
            self.bar.refresh()

    def conclude(self, existing: int, left_alone: int) -> int:
        """Say what was not done and why; return the exit status: 1 if some failed, 2 if all did."""
        self.close()
        told = [
            (existing, "were there already (--overwrite makes them anew)"),
            (left_alone, "other files left alone"),
            (len(self.failed) if len(self.failed) + len(self.done) > 1 else 0, "failed, see above"),
        ]
        parts = [f"{count} {what}" for count, what in told if count]
        if parts:
            tqdm.write(f"{len(self.done)} done, {', '.join(parts)}")
        if not self.failed:
            return 0
        return 1 if self.done or existing else 2


class WorkConsole:
    """Shows how far long work of one kind is, how fast it goes, and the time left."""

    def __init__(self) -> None:
        self.quiet = not sys.stderr.isatty()
        form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {desc}"
        self.bar = tqdm(disable=False, dynamic_ncols=True, bar_format=form, delay=1e9 * self.quiet)
        self.told = time.monotonic()

    def show(self, what: str, done: float, total: float) -> None:
        """Say what is being done, and how much of all is done, in any unit."""
        self.bar.total = total
        self.bar.set_description_str(what, refresh=False)
        self.bar.update(done - self.bar.n)
        if self.quiet and time.monotonic() - self.told > _LINE_SECONDS:
            self.told = time.monotonic()
            print(self.bar, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar."""
        self.bar.close()
