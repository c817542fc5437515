"""Progress of one long task: a bar on a terminal, a line now and then elsewhere."""

from fst.terminal import Bar, SparseLines


class WorkConsole:
    """Shows the progress of one long task and the time left."""

    def __init__(self) -> None:
        self.lines = SparseLines()
        form = "{percentage:3.0f}%|{bar}| {elapsed}<{remaining}, {desc}"
        self.bar = Bar(bar_format=form, hidden=self.lines.shown)

    def show(self, what: str, done: float, total: float) -> None:
        """Show the present step, and how much of the whole is done, in any unit."""
        self.bar.total = total
        self.bar.set_description_str(what, refresh=False)
        self.bar.update(done - self.bar.n)
        self.lines.note(self.bar)

    def close(self) -> None:
        """End the bar."""
        self.bar.close()
