"""Which requests are let in: limits on how many at once, on their bytes and their seconds.

A request is refused before its body is read where its header tells enough. What arrives is counted,
as a client may lie about the length, or not say it.
"""

import asyncio
import contextlib
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fst.serve.limits import Limits
from fst.serve.metrics import Metrics
from fst.serve.record import record_of, refusal

RETRY = {"Retry-After": "2"}
"""The header, in seconds, of answers to those who may come again."""
_DRAIN_SECONDS = 2.0


class Admission:
    """Lets in as many pictures as there are workers and places in the queue."""

    def __init__(self, app: ASGIApp, limits: Limits, workers: int, metrics: Metrics) -> None:
        self.app = app
        self.limits = limits
        self.places = workers + limits.queue
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it at once."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body = _Body(scope, receive, self.limits)

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()
            await send(message)

        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self.limits.max_bytes:
            error = _too_long(self.limits)
        elif self.places < 1:
            error = HTTPException(429, "the queue is full: try again later", RETRY)
        else:
            self.places -= 1
            self.metrics.admitted.inc()
            try:
                await self.app(scope, body.receive, send_on)
            finally:
                self.places += 1
                self.metrics.admitted.dec()
            return
        await refusal(scope, error)(scope, receive, send_on)


class _Body:
    """A request's body as it arrives."""

    def __init__(self, scope: Scope, receive: Receive, limits: Limits) -> None:
        self.next = receive
        self.limits = limits
        self.until = record_of(scope).began + limits.timeout
        # Such a client sends nothing before it is asked to.
        self.asked = Headers(scope=scope).get("expect", "").lower() != "100-continue"
        self.size = 0
        self.finished = False

    async def receive(self) -> Message:
        """Return the next part; once all have come, wait for the client to leave.

        Raises:
            HTTPException: the body is too long, or takes too long.
        """
        if self.finished:
            return await self.next()
        try:
            async with asyncio.timeout(max(0.0, self.until - time.monotonic())):
                message = await self._take()
        except TimeoutError:
            seconds = f"{self.limits.timeout:g} seconds"
            raise HTTPException(408, f"the body did not arrive within {seconds}") from None
        if self.size > self.limits.max_bytes:
            raise _too_long(self.limits)
        return message

    async def drain(self) -> None:
        """Take the rest of the body: a client that still sends would not see its answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while self.asked and not self.finished:
                    await self._take()

    async def _take(self) -> Message:
        self.asked = True
        message = await self.next()
        self.size += len(message.get("body", b""))
        self.finished = not message.get("more_body", False)
        return message


def _too_long(limits: Limits) -> HTTPException:
    return HTTPException(413, f"a request may have {limits.max_bytes:,} bytes at most")
