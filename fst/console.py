"""What `fst stylize` says as it works: a bar on a terminal, a line for each result or failure."""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tqdm import tqdm

from fst.files import Job, Outcome


class StylizeConsole:
    """Shows what becomes of pictures, and counts."""

    def __init__(self, total: int, unit: str = "pictures") -> None:
        """Expect `total` outcomes."""
        self.done: list[Job] = []
        self.failed: list[Outcome] = []
        quiet = not sys.stderr.isatty()
        self.bar = tqdm(total=total, unit=f" {unit}", disable=quiet, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def progress(self, share: float) -> None:
        """Show how much of the present picture is done; it is told for tiles and videos."""
        self.bar.n = len(self.done) + len(self.failed) + min(share, 0.99)
        self.bar.set_postfix_str(f"{share:.0%} of this one" if share < 1 else "")

    def show(self, outcomes: Iterable[Outcome]) -> None:
        """Show each as it comes."""
        for outcome in outcomes:
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
        self.bar.close()
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
