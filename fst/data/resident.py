"""Photographs that stay decoded in the memory of the device, where crops are cut.

A GPU trains on more images per second than sixteen CPU cores decode.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fst.data.batches import ContentDataset, no_answer
from fst.data.waiting import StoppedWaitingError, wait_for
from fst.device import available_bytes
from fst.errors import UserError
from fst.pictures.image import UnreadableImageError, to_bytes_tensor
from fst.terminal import Bar, is_watched

_TRIED = 64
"""Pictures whose size is taken for that of all."""
_SHARE = 0.7
"""How much of the free memory the pictures may take: training needs some too."""


class ResidentDataset(ContentDataset):
    """The crops of a `ContentDataset` to within rounding, without decoding anything twice."""

    def __init__(
        self,
        dataset: ContentDataset,
        device: torch.device,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """Decode all pictures.

        Args:
            dataset: where they come from.
            device: where they are kept, as uint8.
            stopping: whether a stop is requested.

        Raises:
            UserError: they do not fit into the free memory.
            FeedError: no picture comes.
            StoppedWaitingError: a stop is requested.
        """
        super().__init__(
            dataset.source, dataset.indices, dataset.crop_px, dataset.min_crop_scale, dataset.seed
        )
        self.pictures: dict[int, Tensor | UnreadableImageError] = {}
        free, used = available_bytes(device), 0
        indices = self.indices.tolist()
        bar = Bar(indices, desc="decoding", unit="photograph", disable=not is_watched())
        threads = ThreadPoolExecutor(os.cpu_count())
        decoded = wait_for(
            threads.map(self._decode, indices), stopping, partial(no_answer, dataset)
        )
        try:
            for index, picture in zip(bar, decoded, strict=True):
                if stopping():
                    raise StoppedWaitingError
                if isinstance(picture, Tensor):
                    picture = picture.to(device)
                    used += picture.nbytes
                self.pictures[index] = picture
                if len(self.pictures) == _TRIED:
                    _refuse_too_many(used / _TRIED * len(indices), free)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _decode(self, index: int) -> Tensor | UnreadableImageError:
        try:
            return to_bytes_tensor(self.source.open(index))
        except UnreadableImageError as error:
            return error

    def cut(self, index: int, random: np.random.Generator) -> Tensor:
        """Return a crop of a picture, (3, S, S), uint8, on the device."""
        picture = self.pictures[index]
        if isinstance(picture, UnreadableImageError):
            raise picture
        _, height, width = picture.shape
        box = self.box(width, height, random)
        left, top, side = (round(length) for length in (box.left, box.top, box.side))
        square = picture[None, :, top : top + side, left : left + side].float()
        size = (self.crop_px, self.crop_px)
        pixels = F.interpolate(square, size, mode="bicubic", antialias=True)[0]
        pixels = pixels.round().clamp(0, 255).byte()
        return pixels.flip(2) if box.mirrored else pixels


def _refuse_too_many(needed: float, free: float) -> None:
    if needed > _SHARE * free:
        raise UserError(
            f"data.resident=true would take {needed / 1e9:.1f} GB of {free / 1e9:.1f} GB of free "
            "memory: write the photographs smaller (fst prepare --size), or leave it out"
        )
