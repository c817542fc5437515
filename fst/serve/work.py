"""A picture from bytes to bytes: what `fst stylize` does with a file, in a pool of threads."""

import io
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

import torch
from torch import Tensor

from fst.pictures.formats import count_pixels
from fst.pictures.forms import in_form_of
from fst.pictures.image import TooLargeImageError, encode_picture, read_picture
from fst.serve.batching import Batcher
from fst.serve.catalogue import Catalogue, ServedModel
from fst.serve.limits import Limits
from fst.serve.metrics import Metrics
from fst.stylizing.look import Look
from fst.stylizing.options import Options, check_strength

_WITH_GPU = 8


class TooLateError(Exception):
    """Nobody waits for the result any more."""


@dataclass(frozen=True)
class Order:
    """What a request asks for."""

    picture: BinaryIO
    model: ServedModel
    style: str
    painting: BinaryIO | None
    options: Options
    suffix: str
    """The result's format, such as `.png`."""
    until: float
    """When nobody waits for it any more, by `time.monotonic`."""


@dataclass(frozen=True)
class Done:
    """The result, and what it took."""

    content: bytes
    pixels: int
    began: float
    """By `time.monotonic`."""
    ended: float


class Workshop:
    """The pool of threads that stylizes.

    Threads, as one copy of the models serves them all, and torch and Pillow let others run while
    they work. On a CPU each thread runs the networks with its share of the cores. On a GPU one pass
    runs at a time, with the pictures that wait for the same.
    """

    def __init__(self, catalogue: Catalogue, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        cores = self.cores = torch.get_num_threads()
        on_cpu = all(model.on_cpu for model in catalogue.models.values())
        self.workers = limits.workers or (cores if on_cpu else _WITH_GPU)
        self.batcher = Batcher(self.workers if on_cpu else 1, metrics.batches.observe)
        share = max(1, cores // self.workers)
        self.threads = ThreadPoolExecutor(
            self.workers, "stylize", initializer=partial(torch.set_num_threads, share)
        )

    def submit(self, order: Order) -> Future[Done]:
        """Have an order worked on when a thread is free."""
        return self.threads.submit(self.work, order)

    def close(self) -> None:
        """End the threads once they have finished what they began."""
        self.threads.shutdown(cancel_futures=True)
        torch.set_num_threads(self.cores)  # new threads take the number that was set last

    def work(self, order: Order) -> Done:
        """Stylize a picture, with the pixels and in the file that `fst stylize` would write.

        Raises:
            TooLargeImageError: the picture or the painting has too many pixels.
            UnreadableImageError: either cannot be decoded.
            UserError: there is no such style, or the model or the format does not take the picture.
            TooLateError: it took too long.
        """
        began = time.monotonic()
        given = self._read("picture", order.picture)
        painting = self._read("painting", order.painting) if order.painting else None
        stylizer = order.model.open(order.style, painting)
        options = order.options
        check_strength(options.strength, stylizer.most_strength)
        picture = read_picture(given)
        height, width = picture.rgb.shape[-2:]
        strokes = options.strokes_in(height, width, stylizer.fixed_size)
        look = Look(options.strength, options.keep_colors, None, strokes)

        def stop_if_late(share: float) -> None:
            if time.monotonic() > order.until:
                raise TooLateError

        def render(rgb: Tensor) -> Tensor:
            return in_form_of(stylizer.render(rgb, look, progress=stop_if_late), rgb)

        stop_if_late(0)
        same = (stylizer, look, height, width)
        picture.replace_pixels(self.batcher.render(same, picture.rgb, render))
        content = encode_picture(picture, order.suffix, options.quality)
        return Done(content, height * width, began, time.monotonic())

    def _read(self, what: str, file: BinaryIO) -> bytes:
        content = file.read()
        pixels = count_pixels(io.BytesIO(content))
        if pixels > self.limits.max_pixels:
            raise TooLargeImageError(
                f"the {what} has {pixels:,} pixels; {self.limits.max_pixels:,} are the most"
            )
        return content
