"""Waiting for photographs that may never come, as from a network folder that is gone.

A thread takes them, so that the main one can give up: when nothing comes for long, or when a stop
is requested meanwhile. Nothing else ends a read from a dead mount.
"""

import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from fst.errors import UserError

SILENCE_SECONDS = 40.0
"""After this long without a sign of life, nothing more is expected."""
GRACE_SECONDS = 3.0
"""How long to wait on once a stop is requested: most often the item is about to come."""
_POLL_SECONDS = 0.25
_END = object()

Item = TypeVar("Item")


class FeedError(UserError):
    """The photographs are no longer usable, or never were."""


class StoppedWaitingError(Exception):
    """A stop was requested, and what was waited for did not come."""


def wait_for(
    items: Iterator[Item],
    stopping: Callable[[], bool],
    silence: Callable[[], str],
    last_sign: Callable[[], float] = lambda: 0.0,
) -> Iterator[Item]:
    """Yield items, each of which a thread takes when it is asked for.

    Args:
        items: what may block; its errors are raised here.
        stopping: whether a stop is requested.
        silence: returns what to say when nothing comes; called once.
        last_sign: returns the time of the last sign of life, by `time.monotonic`.

    Raises:
        FeedError: nothing came for `SILENCE_SECONDS`.
        StoppedWaitingError: a stop is requested, and nothing came for `GRACE_SECONDS`.
    """
    asked: SimpleQueue[bool] = SimpleQueue()
    answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def take() -> None:
        while asked.get():
            try:
                answers.put((next(items, _END), None))
            except BaseException as error:
                answers.put((_END, error))

    thread = Thread(target=take, name="photographs", daemon=True)
    thread.start()
    blocked = False
    try:
        while True:
            asked.put(True)
            blocked = True
            item, error = _answer(answers, stopping, silence, last_sign)
            blocked = False
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        asked.put(False)
        if not blocked:
            thread.join()


def _answer(
    answers: SimpleQueue[tuple[Any, BaseException | None]],
    stopping: Callable[[], bool],
    silence: Callable[[], str],
    last_sign: Callable[[], float],
) -> tuple[Any, BaseException | None]:
    began = time.monotonic()
    stopped_at = None
    while True:
        try:
            return answers.get(timeout=_POLL_SECONDS)
        except Empty:
            now = time.monotonic()
        if stopping():
            stopped_at = stopped_at or now
            if now - stopped_at > GRACE_SECONDS:
                raise StoppedWaitingError
        if now - max(began, last_sign()) > SILENCE_SECONDS:
            raise FeedError(silence())
