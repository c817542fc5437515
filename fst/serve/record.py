"""What is known of one request, from its first byte to its answer."""

import secrets
import time
from dataclasses import dataclass, field

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Scope

KEY = "fst.record"
"""Where it is in the scope of a request."""


@dataclass
class Record:
    """What is known of a request; its log line."""

    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.monotonic)
    model: str = ""
    pixels: int = 0
    queued: float = 0.0
    """Seconds."""
    worked: float = 0.0
    """Seconds."""
    reason: str = ""
    """Why it was refused."""


def record_of(scope: Scope) -> Record:
    """Return the record of the request that is being answered."""
    found: Record = scope[KEY]
    return found


def refusal(scope: Scope, error: HTTPException) -> JSONResponse:
    """Return the answer that says in a line why a request is refused; the log says it, too."""
    record_of(scope).reason = error.detail
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)
