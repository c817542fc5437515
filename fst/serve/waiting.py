"""Waiting for work in a pool of threads: as long as the client does, and as the limits say."""

import asyncio
import time
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from fst.serve.admission import RETRY
from fst.serve.work import TooLateError

Result = TypeVar("Result")


async def wait_for(job: Future[Result], request: Request, until: float) -> Result:
    """Return the result of a job.

    Args:
        job: what a pool of threads was given; it is cancelled if nobody waits for it any more.
        request: of the client that waits.
        until: how long, by `time.monotonic`.

    Raises:
        HTTPException: it was not done in time, or the client left.
        Exception: what the job raised.
    """
    result: asyncio.Future[Result] = asyncio.wrap_future(job)
    left: asyncio.Future[None] = asyncio.ensure_future(_leaves(request))
    try:
        seconds = max(0.0, until - time.monotonic())
        both: set[asyncio.Future[Any]] = {result, left}
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
    except TooLateError:
        pass
    finally:
        began = not job.cancel()
        result.cancel()
        left.cancel()
    if left.done() and not left.cancelled():
        raise HTTPException(499, "the client left")
    if began:
        raise HTTPException(504, "the work took too long: try a smaller picture")
    raise HTTPException(503, "no worker was free in time: try again later", RETRY)


async def _leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
