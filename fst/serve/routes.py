"""What each address answers."""

import time
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from fst.errors import UserError, one_line
from fst.serve import pages
from fst.serve.catalogue import Catalogue
from fst.serve.form import SUFFIXES, StylizeForm
from fst.serve.limits import Limits
from fst.serve.metrics import CONTENT_TYPE, Metrics
from fst.serve.record import record_of
from fst.serve.thumbnails import Thumbnails
from fst.serve.waiting import wait_for
from fst.serve.work import Order, Workshop
from fst.stylizing.options import Options

_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The stylized picture, of the size of the one given.",
        "content": {f"image/{name}": {} for name in SUFFIXES},
    },
    400: {"description": "The body is not the form that its header says."},
    408: {"description": "The body took too long."},
    413: {"description": "The body has too many bytes, or a picture too many pixels."},
    415: {"description": "A file is not a picture, or a damaged one."},
    422: {"description": "A field is missing, unknown or out of range."},
    429: {"description": "Too many pictures are waiting: try again after Retry-After seconds."},
    503: {"description": "No worker or memory was free in time: try again later."},
    504: {"description": "The work took too long."},
}


@dataclass(frozen=True)
class Service:
    """What the answers are made with; an application's `state.service`."""

    catalogue: Catalogue
    limits: Limits
    metrics: Metrics
    workshop: Workshop
    thumbnails: Thumbnails


router = APIRouter()


@router.post("/stylize", response_class=Response, responses=_ANSWERS)
async def stylize(request: Request, form: Annotated[StylizeForm, File()]) -> Response:
    """Stylize a picture, as `fst stylize` does: the form has the picture and the flags."""
    service, record = _service(request), record_of(request.scope)
    model = service.catalogue[form.model]
    record.model = model.name
    options = Options(
        strength=form.strength,
        strokes=form.strokes,
        keep_colors=form.keep_colors,
        quality=form.quality,
    )
    until = record.began + service.limits.timeout
    painting = form.painting.file if form.painting else None
    suffix = SUFFIXES[form.format]
    order = Order(form.picture.file, model, form.style, painting, options, suffix, until)
    submitted = time.monotonic()
    done = await wait_for(service.workshop.submit(order), request, until)
    record.pixels = done.pixels
    record.queued = done.began - submitted
    record.worked = done.ended - done.began
    service.metrics.count(record)
    return Response(done.content, media_type=f"image/{form.format}")


@router.get("/models")
async def models(request: Request) -> list[dict[str, Any]]:
    """List the models: names, paintings, licences, styles, addresses of thumbnails."""
    return [model.describe() for model in _service(request).catalogue.models.values()]


@router.get("/models/{name}/thumbnail", response_class=Response)
async def thumbnail(
    request: Request,
    name: str,
    style: Annotated[str, Query(description="Of several styles; by default the first.")] = "",
) -> Response:
    """Show what a style looks like, as JPEG."""
    service = _service(request)
    try:
        job = service.thumbnails.of(service.catalogue[name], style)
    except UserError as error:
        raise HTTPException(404, one_line(error)) from error
    until = record_of(request.scope).began + service.limits.timeout
    done = await wait_for(job, request, until)
    return Response(done.content, media_type="image/jpeg")


@router.get("/healthz")
async def health() -> dict[str, str]:
    """Say that the server runs."""
    return {"status": "ok"}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Tell Prometheus what was counted."""
    return Response(_service(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Show these descriptions as a page."""
    return HTMLResponse(pages.reference(request.app.openapi()))


async def welcome() -> HTMLResponse:
    """Show the page at `/` of a server without a site."""
    return HTMLResponse(pages.welcome())


def _service(request: Request) -> Service:
    found: Service = request.app.state.service
    return found
