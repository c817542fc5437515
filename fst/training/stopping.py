"""Ctrl-C, SIGTERM and SIGHUP as requests to save and stop."""

import signal
from types import FrameType
from typing import Any, Self

from fst.errors import ending_signals, is_hangup


class StopRequest:
    """Records SIGINT, SIGTERM or SIGHUP inside its context.

    A second SIGINT or SIGTERM ends the process at once. Further SIGHUPs are ignored, also after it:
    the kernel and the shell each send one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, *ending_signals()):
            self.previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        # In one call: between two, the second SIGHUP would end the process.
        signal.signal(number, signal.SIG_IGN if is_hangup(number) else signal.SIG_DFL)
