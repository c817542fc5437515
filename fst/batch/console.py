"""Progress of commands: bars on a terminal, a line now and then elsewhere."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fst.batch.files import Job, Outcome, about_skipped
from fst.models.exported import ExportedNetwork
from fst.stylizing.stylizer import Stylizer
from fst.terminal import Bar, SparseLines, note, say


class StylizeConsole:
    """Shows and counts outcomes: a bar for all files, one for the frames of a video."""

    def __init__(self, total: int) -> None:
        """Expect `total` outcomes."""
        self.total = total
        self.done: list[Job] = []
        self.failed: list[Outcome] = []
        self.lines = SparseLines()
        self.bar = Bar(total=total, unit="file", disable=self.lines.shown)
        self.frame_bar: Bar | None = None

    def close(self) -> None:
        """End the bars."""
        self._end_frames()
        self.bar.close()

    def tell_engines(self, stylizers: dict[str, Stylizer]) -> None:
        """Print the engines that run exported models."""
        for name, stylizer in stylizers.items():
            if isinstance(stylizer.network, ExportedNetwork):
                note(f"{name}: {stylizer.engine}")

    def tiles(self, share: float) -> None:
        """Show the fraction of a large picture that is done."""
        self.bar.set_postfix_str(f"{share:.0%} of a large picture" if share < 1 else "")
        self.lines.note(f"{share:.0%} of a large picture")

    def frames(self, done: int, total: int | None) -> None:
        """Show how many frames of a video are done, how fast, and the time left."""
        # Without a terminal the bar stays hidden, but counts for the printed lines.
        if self.frame_bar is None:  # a bar itself has no truth value while its total is unknown
            self.frame_bar = Bar(unit="frame", leave=False, hidden=self.lines.shown)
        bar = self.frame_bar
        bar.total = total
        bar.update(done - bar.n)
        self.lines.note(bar)

    def _end_frames(self) -> None:
        if self.frame_bar is not None:
            self.frame_bar.close()
            self.frame_bar = None

    def show(self, outcomes: Iterable[Outcome]) -> None:
        """Show each outcome as it arrives."""
        for outcome in outcomes:
            self._end_frames()
            if outcome.error is None:
                self.done.append(outcome.job)
                notes = f" ({'; '.join(outcome.notes)})" if outcome.notes else ""
                say(f"{outcome.job.source} -> {outcome.job.target}{notes}")
            else:
                self.failed.append(outcome)
                message = outcome.error
                if str(outcome.job.source) not in message:
                    message = f"{outcome.job.source}: {message}"
                note(f"fst: {message}")
            self.bar.n = len(self.done) + len(self.failed)
            self.bar.refresh()

    def run(self, *works: Iterable[Outcome], existing: int, skipped: Sequence[Path]) -> int:
        """Show the outcomes of one job after the other; return what `conclude` does."""
        try:
            for outcomes in works:
                self.show(outcomes)
        finally:  # also when it is stopped
            status = self.conclude(existing, skipped)
        return status

    def conclude(self, existing: int, skipped: Sequence[Path]) -> int:
        """Print what was not done and why; return the exit status.

        It is 1 if some files failed or one met a bug, and 2 if all of them failed otherwise.

        Args:
            existing: how many results existed before and were kept.
            skipped: files of folders that are neither pictures nor videos.
        """
        self.close()
        ended = len(self.done) + len(self.failed)
        parts = [
            _count_of(existing, "already exist (use --overwrite to replace them)"),
            _count_of(len(self.failed) if ended > 1 else 0, "failed (see above)"),
            _count_of(self.total - ended, "not done (run the same command again to resume)"),
            about_skipped(skipped),
        ]
        if any(parts):
            say(", ".join([f"{len(self.done)} done", *filter(None, parts)]))
        if not self.failed:
            return 0
        bug = any(outcome.bug for outcome in self.failed)
        return 1 if self.done or existing or bug else 2


def _count_of(count: int, what: str) -> str:
    return f"{count} {what}" if count else ""
