"""Progress of one long task: a bar on a terminal, a line now and then elsewhere."""

import time

from fst.terminal import Bar, is_watched, note

_LINE_SECONDS = 10.0
"""Without a terminal, progress is printed this often."""


class WorkConsole:
    """Shows the progress of one long task and the time left."""

    def __init__(self) -> None:
        self.quiet = not is_watched()
        form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {desc}"
        self.bar = Bar(bar_format=form, hidden=self.quiet)
        self.printed = time.monotonic()

    def show(self, what: str, done: float, total: float) -> None:
        """Show the present step, and how much of the whole is done, in any unit."""
        self.bar.total = total
        self.bar.set_description_str(what, refresh=False)
        self.bar.update(done - self.bar.n)
        if self.quiet and time.monotonic() - self.printed > _LINE_SECONDS:
            self.printed = time.monotonic()
            note(str(self.bar))

    def close(self) -> None:
        """End the bar."""
        self.bar.close()
