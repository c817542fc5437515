"""The application: the addresses, what stands before them, and how mistakes are answered."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.staticfiles import StaticFiles

from fst import __version__
from fst.errors import UserError, one_line
from fst.pictures.image import TooLargeImageError, UnreadableImageError
from fst.serve.admission import Admission
from fst.serve.catalogue import Catalogue
from fst.serve.headers import FOR_ALL, FOR_SITE, WithHeaders
from fst.serve.limits import Limits
from fst.serve.metrics import Metrics
from fst.serve.record import refusal
from fst.serve.recording import REQUEST_ID, Recorded
from fst.serve.routes import Service, router, welcome
from fst.serve.thumbnails import Thumbnails
from fst.serve.work import Workshop

_ABOUT = (
    'Stylizes pictures. Errors are answered in JSON, {"error": "one line"}. Each answer has an '
    "X-Request-Id, under which the server logs it."
)


def make_app(
    catalogue: Catalogue,
    limits: Limits = Limits(),  # noqa: B008, it is frozen
    site: Path | None = None,
    origins: Sequence[str] = (),
) -> FastAPI:
    """Return the server's application, for any ASGI server.

    Args:
        catalogue: the models that it offers.
        limits: what it takes on.
        site: a folder that `fst web` wrote, to be shown at `/`.
        origins: whose pages may use it from browsers, such as `https://example.org`.
    """
    metrics = Metrics()
    workshop = Workshop(catalogue, limits, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        workshop.close()

    app = FastAPI(
        title="fst",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # it would load its scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        form_limits={"max_files": 2, "max_fields": 16, "max_part_size": 4096},
    )
    app.state.service = Service(catalogue, limits, metrics, workshop, Thumbnails(workshop))
    app.include_router(router)
    if site is None:
        app.get("/", include_in_schema=False)(welcome)
    else:
        app.mount("/", WithHeaders(StaticFiles(directory=site, html=True), FOR_SITE))
    # The last is the outermost.
    app.add_middleware(Admission, limits=limits, workers=workshop.workers, metrics=metrics)
    app.add_middleware(Recorded, metrics=metrics)
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    app.add_middleware(WithHeaders, headers=FOR_ALL)
    _explain_mistakes(app)
    return app


def _explain_mistakes(app: FastAPI) -> None:
    """Have each mistake of a client answered in a line."""

    async def refuse(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return refusal(request.scope, error)

    async def refuse_fields(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = [f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors()]
        return refusal(request.scope, HTTPException(422, "; ".join(found)))

    def refuse_with(status: int) -> Any:
        async def answer(request: Request, error: Exception) -> JSONResponse:
            return refusal(request.scope, HTTPException(status, one_line(error)))

        return answer

    app.add_exception_handler(HTTPException, refuse)
    app.add_exception_handler(RequestValidationError, refuse_fields)
    app.add_exception_handler(UserError, refuse_with(422))
    app.add_exception_handler(UnreadableImageError, refuse_with(415))
    app.add_exception_handler(TooLargeImageError, refuse_with(413))
