"""What each style looks like: one small picture in it, made when it is first asked for."""

import io
import time
from concurrent.futures import Future
from functools import cache
from importlib import resources

from fst.errors import UserError
from fst.pictures.image import Picture, encode_picture, middle_square, read_image, resize
from fst.serve.catalogue import ServedModel
from fst.serve.work import Done, Order, Workshop
from fst.stylizing.options import Options

SIDE_PX = 192
_PATIENCE_SECONDS = 600.0


class Thumbnails:
    """The thumbnails of all styles, as JPEG; each is made once and kept."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.begun: dict[tuple[str, str], Future[Done]] = {}

    def of(self, model: ServedModel, style: str) -> Future[Done]:
        """Return the thumbnail of a style, which may still be in work; by default the first style.

        Raises:
            UserError: there is no such style.
        """
        chosen = style or next(iter(model.styles), "")
        if chosen not in (model.styles or [""]):  # blends are endless
            raise UserError(f"{model.name} has no style {style!r} with a thumbnail")
        key = (model.name, chosen)
        made = self.begun.get(key)
        if made is None or made.cancelled() or (made.done() and made.exception()):
            until = time.monotonic() + _PATIENCE_SECONDS
            order = Order(io.BytesIO(_example()), model, chosen, None, Options(), ".jpg", until)
            made = self.begun[key] = self.workshop.submit(order)
        return made


@cache
def _example() -> bytes:
    """Return the middle of the picture that ships with fst, as a file."""
    with resources.as_file(resources.files("fst.conf") / "style" / "vortices.jpg") as file:
        square = middle_square(resize(read_image(file), SIDE_PX))
    return encode_picture(Picture((square * 255).round().byte()), ".png")
