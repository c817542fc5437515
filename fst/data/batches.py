"""Batches of crops of content photographs.

The order depends only on the seed and the number of images seen, so a resumed run, or a run on
several processes, sees exactly the crops that an uninterrupted single process would.
"""

import hashlib
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from fst.config import DataConfig
from fst.data.heldout import hold_out, read_squares
from fst.data.sources import MAX_UNUSABLE, Skipped, Source, open_source
from fst.data.waiting import SILENCE_SECONDS, FeedError, wait_for
from fst.errors import one_line
from fst.pictures.image import UnreadableImageError, to_bytes_tensor
from fst.streams import Stream

Crop: TypeAlias = tuple[Tensor | None, Skipped]
"""uint8 (3, S, S), or None where nothing could be read; and the pictures skipped for it."""
Batch: TypeAlias = tuple[Tensor, Skipped]
"""uint8 (N, 3, S, S), and the pictures skipped for it."""

SPOILED = "was in a batch whose gradient is infinite or NaN"
"""The reason for which pictures of a skipped step are skipped from then on."""


@dataclass
class Data:
    """The pictures of a run."""

    train: "ContentDataset"
    heldout: Tensor
    """Held-out pictures, uint8 (N, 3, P, P), never trained on; N may be 0."""
    summary: str
    """A line with the number of pictures and of skipped files."""
    fingerprint: str
    """Identifies the pictures, so that a resumed run notices when they change."""


class Box(NamedTuple):
    """A square part of a picture, in pixels."""

    left: float
    top: float
    side: float
    mirrored: bool


class ContentDataset(Dataset[Crop]):
    """Random crops by position, the number of images seen before: 0, 1, 2 ... without end.

    Each pass over the pictures has its own order. An unreadable picture is replaced by another one,
    which depends only on the position, and reported.
    """

    def __init__(
        self, source: Source, indices: np.ndarray, crop_px: int, min_crop_scale: float, seed: int
    ) -> None:
        self.source = source
        self.indices = indices
        self.crop_px = crop_px
        self.min_crop_scale = min_crop_scale
        self.seed = seed
        self.order: tuple[int, np.ndarray] = (-1, indices)
        self.left_out: frozenset[str] = frozenset()
        """Names of pictures that are replaced as unreadable ones are: they spoiled a step."""

    def __getitem__(self, position: int) -> Crop:
        """Return a crop and the pictures skipped for it; after a hundred the crop is None."""
        crop, skipped, _ = self._find(position)
        return crop, skipped

    def name_at(self, position: int) -> str:
        """Return the name of the picture that the crop at a position is cut from."""
        return self.source.name(self._find(position)[2])

    def _find(self, position: int) -> tuple[Tensor | None, Skipped, int]:
        """Return the crop at a position, the pictures skipped for it, and its picture's index."""
        random = Stream.CROP.random(self.seed, position)
        index = self.index_at(position)
        skipped: Skipped = []
        while len(skipped) < MAX_UNUSABLE:
            try:
                if self.left_out and self.source.name(index) in self.left_out:
                    raise UnreadableImageError(SPOILED)
                return self.cut(index, random), skipped, index
            except UnreadableImageError as error:
                skipped.append((self.source.name(index), str(error)))
                index = int(random.choice(self.indices))
        return None, skipped, index

    def index_at(self, position: int) -> int:
        """Return the index of the picture at a position."""
        epoch, offset = divmod(position, len(self.indices))
        order = self.order  # threads may replace it
        if order[0] != epoch:
            random = Stream.ORDER.random(self.seed, epoch)
            order = self.order = (epoch, random.permutation(self.indices))
        return int(order[1][offset])

    def cut(self, index: int, random: np.random.Generator) -> Tensor:
        """Return a random square of a picture, scaled to `crop_px`, and half of them mirrored.

        Raises:
            UnreadableImageError: the picture cannot be used.
        """
        picture = self.source.open(index)
        box = self.box(picture.width, picture.height, random)
        square = picture.resize(
            (self.crop_px, self.crop_px),
            Image.Resampling.BICUBIC,
            box=(box.left, box.top, box.left + box.side, box.top + box.side),
        )
        pixels = to_bytes_tensor(square)
        return pixels.flip(2) if box.mirrored else pixels

    def box(self, width: int, height: int, random: np.random.Generator) -> Box:
        """Draw what to cut from a picture of this size."""
        side = min(width, height) * random.uniform(self.min_crop_scale, 1)
        left, top = (random.uniform(0, length - side) for length in (width, height))
        return Box(left, top, side, random.random() < 0.5)


def open_data(config: DataConfig, seed: int, leave_out: Sequence[Path] = ()) -> Data:
    """Find the pictures, and hold some out that are not trained on.

    Without `heldout_path` these are drawn from the pictures themselves, at most half of them.

    Args:
        config: where the pictures are.
        seed: selects the held-out pictures, and the order of the others.
        leave_out: folders below the folder of pictures that are skipped.

    Raises:
        FileNotFoundError: there are no pictures.
        UserError: a parquet file has no such column.
    """
    if config.heldout_path is not None:
        leave_out = [*leave_out, Path(config.heldout_path)]
    source = open_source(config, leave_out)
    if config.heldout_path is None:
        judged_by, indices, unusable = hold_out(
            source, seed, config.heldout_images, config.heldout_px
        )
    else:
        indices = np.arange(len(source))
        judged_by, unusable = read_squares(
            config.heldout_path, config.heldout_images, config.heldout_px
        )
    summary = f"{len(indices)} photographs to train on, {len(judged_by)} held out"
    if source.other_files:
        few = ", ".join(source.other_files[:3])
        more = " ..." if len(source.other_files) > 3 else ""
        summary += f"; {len(source.other_files)} other files skipped ({few}{more})"
    for name, reason in unusable:
        summary += f"; not held out: {name} ({reason})"
    crop_px = config.crop_px + 2 * config.margin_px
    train = ContentDataset(source, indices, crop_px, config.min_crop_scale, seed)
    fingerprint = f"{source.fingerprint()} {hashlib.sha256(indices.tobytes()).hexdigest()}"
    return Data(train, judged_by, summary, fingerprint)


def without_margin(images: Tensor, margin_px: int) -> Tensor:
    """Return what the loss sees of crops (N, 3, S, S): all but the margin on each side."""
    return F.pad(images, [-margin_px] * 4)


def content_batches(
    dataset: ContentDataset,
    batch_size: int,
    start: int,
    end: int,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
    stopping: Callable[[], bool] | None = lambda: False,
) -> Iterator[Batch]:
    """Yield this process's equal share of each batch from position `start` until `end` is reached.

    Args:
        dataset: the crops.
        batch_size: images in a batch, over all processes; a multiple of `world_size`.
        start: images seen before.
        end: images to see in total; the last batch is a full one and may exceed it.
        rank: this process among `world_size`.
        world_size: how many processes share a batch.
        workers: processes that decode.
        pin_memory: speeds up copies to a GPU.
        stopping: whether a stop is requested, so that no batch is waited for in vain; None takes
            pictures that are in memory, and waits for them in this thread.

    Raises:
        FeedError: a hundred pictures in a row are unreadable, a worker died or has no memory to
            share, or no picture comes.
        StoppedWaitingError: a stop is requested, and the next batch does not come.
    """
    share = batch_size // world_size
    firsts = range(start, end, batch_size)
    others = set(multiprocessing.active_children())
    try:
        last_sign = multiprocessing.RawValue("d", 0.0)
        loader = DataLoader(
            _Watched(dataset, last_sign),
            # Made as they are needed: a list for 40 million images would take gigabytes.
            batch_sampler=(
                list(range(first + rank * share, first + (rank + 1) * share)) for first in firsts
            ),
            num_workers=min(workers, len(firsts)),
            collate_fn=_collate,
            worker_init_fn=_outlive_signals,
            pin_memory=pin_memory,
            prefetch_factor=4 if workers and firsts else None,
        )
        with _keep_sigchld():
            batches: Iterator[Crop | str] = iter(loader)
    except OSError as error:  # semaphores are kept there, too
        raise FeedError(
            f"cannot start data workers: {error}; {_shared_memory_advice(workers)}"
        ) from error
    processes = set(multiprocessing.active_children()) - others

    def silence() -> str:
        return no_answer(dataset) + (f", or {_shared_memory_advice(workers)}" if workers else "")

    if stopping is not None:
        batches = wait_for(batches, stopping, silence, lambda: last_sign.value)
    try:
        for batch in batches:
            if isinstance(batch, str):
                raise FeedError(f"{batch}; {_shared_memory_advice(workers)}")
            images, skipped = batch
            if images is None:
                raise unusable(dataset, skipped)
            yield images, skipped
    except Exception as error:
        ends = [process.exitcode for process in processes if process.exitcode]
        for process in processes:
            process.kill()  # or the end of this process would wait for them
        if not ends or not isinstance(error, RuntimeError | OSError | EOFError):
            raise
        how = f"was killed by signal {-ends[0]}" if ends[0] < 0 else f"ended with {ends[0]}"
        raise FeedError(
            f"a data worker {how}: memory ran out, or {_shared_memory_advice(workers)}"
        ) from error


class _Watched(Dataset[Crop]):
    """Crops, each of which records when it was made, as a sign of life."""

    def __init__(self, crops: ContentDataset, last_sign: Any) -> None:
        self.crops = crops
        self.last_sign = last_sign

    def __getitem__(self, position: int) -> Crop:
        crop = self.crops[position]
        self.last_sign.value = time.monotonic()
        return crop


@contextmanager
def _keep_sigchld() -> Iterator[None]:
    """Undo torch's handler, which raises an error in the midst of a step when a worker dies."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, handler or signal.SIG_DFL)


def _shared_memory_advice(workers: int) -> str:
    return (
        f"/dev/shm is too small for data.workers={workers}: use data.workers=0, or give the "
        "container more (docker run --shm-size=1g)"
    )


def no_answer(dataset: ContentDataset) -> str:
    """Return what to say when pictures do not come, as from a network folder that is gone."""
    where = dataset.source.root or "the data set"
    return f"no picture came for {SILENCE_SECONDS:.0f} s: {where} does not answer"


def unusable(dataset: ContentDataset, skipped: Skipped) -> FeedError:
    """Return the error for a picture that none of those `skipped` could replace."""
    if (root := dataset.source.root) is not None and not Path(root).exists():
        return FeedError(f"{root} no longer exists")
    name, reason = skipped[-1]
    return FeedError(
        f"{MAX_UNUSABLE} pictures in a row are unusable, the last one {name}: {reason}"
    )


def _collate(crops: list[Crop]) -> Crop | str:
    """Return a batch; in a worker, why it cannot be shared with the main process if it cannot."""
    skipped = [s for _, skipped in crops for s in skipped]
    images = [crop for crop, _ in crops if crop is not None]
    if len(images) < len(crops):
        return None, skipped
    batch = torch.stack(images)
    if get_worker_info() is not None:
        # Later it would be shared by a thread, whose errors are printed and the batch lost.
        try:
            batch.share_memory_()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            return f"cannot share a batch of {batch.nbytes / 1e6:.1f} MB: {one_line(error)}"
    return batch, skipped


def _outlive_signals(_: int) -> None:
    # Ctrl-C, SIGTERM from a scheduler and SIGHUP from a terminal that is closed reach the workers
    # too, but the main process still needs them while it saves, and ends them itself. If that
    # fails, a second SIGTERM ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
