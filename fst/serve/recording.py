"""Each request has an id and a line in the log, and is counted; bugs are answered, too."""

import time

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fst.errors import is_out_of_memory
from fst.serve import log
from fst.serve.admission import RETRY
from fst.serve.metrics import Metrics
from fst.serve.record import KEY, Record, refusal

REQUEST_ID = "X-Request-Id"


class Recorded:
    """Gives each request an id, counts and logs it; an unexpected error is a 500 with the id."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = scope[KEY] = Record()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = record.id
            await send(message)

        trace = {}
        try:
            await self.app(scope, receive, send_on)
        except Exception as error:
            trace = {"traceback": log.traceback_of(error)}
            if not status:
                answer = refusal(scope, _unexpected(error, record.id))
                await answer(scope, receive, send_on)
        finally:
            self.metrics.requests.labels(status, record.model).inc()
            client = scope["client"]
            log.write(
                id=record.id,
                client=client[0] if client else "",
                method=scope["method"],
                path=scope["path"],
                status=status,
                model=record.model,
                pixels=record.pixels,
                ms=round(1000 * (time.monotonic() - record.began)),
                ms_queued=round(1000 * record.queued),
                ms_worked=round(1000 * record.worked),
                **({"reason": record.reason} if record.reason else {}),
                **trace,
            )


def _unexpected(error: Exception, number: str) -> HTTPException:
    if is_out_of_memory(error):
        return HTTPException(
            503, "out of memory: try again later, or with a smaller picture", RETRY
        )
    return HTTPException(500, f"internal error: the server's log has it under {number}")
