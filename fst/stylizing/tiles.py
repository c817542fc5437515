"""Pictures of any size in bounded memory, tile by tile, with the result of a single pass.

A convolution sees a few pixels around each one, so a tile with a margin gives the same values as
the whole picture. Instance norm sees everything: tiles normalised separately would show as a quilt.
Therefore the network runs unit by unit (downsampling, each residual block, upsampling). All tiles
pass through a unit once for each norm in it, to measure that norm's means and variances over the
whole picture, and once more for the result, which is kept on disk for the next unit. This is exact
and costs about three passes instead of one (`scripts/measure/tiles.py`). Two cheaper ways failed:
statistics from a sample of tiles reached only 17 to 39 dB against the single pass, and measuring
all norms at once, repeatedly, diverged.
"""

import copy
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fst.networks.layers import InstanceNorm
from fst.networks.transformer import TransformerNetwork


@dataclass(frozen=True)
class Tile:
    """A rectangle of a unit's input, as rows and columns, without and with its margin."""

    inner: tuple[slice, slice]
    outer: tuple[slice, slice]

    def keep(self, features: Tensor) -> Tensor:
        """Cut the margin off features of `outer`, (N, C, h, w) at any scale."""
        cut = []
        for inner, outer, size in zip(self.inner, self.outer, features.shape[-2:], strict=True):
            length = outer.stop - outer.start
            start = (inner.start - outer.start) * size // length
            cut.append(slice(start, start + (inner.stop - inner.start) * size // length))
        return features[..., cut[0], cut[1]]


def split(height: int, width: int, tile_px: int, margin_px: int) -> list[Tile]:
    """Cover height x width with tiles of at most `tile_px`; margins end at the borders."""

    def spans(length: int) -> list[slice]:
        return [slice(start, min(start + tile_px, length)) for start in range(0, length, tile_px)]

    def widen(span: slice, length: int) -> slice:
        return slice(max(0, span.start - margin_px), min(length, span.stop + margin_px))

    return [
        Tile((rows, columns), (widen(rows, height), widen(columns, width)))
        for rows in spans(height)
        for columns in spans(width)
    ]


class WholeStatistics:
    """Means and variances of one norm's input, (1, C, h, w), over all tiles of a picture."""

    def __init__(self) -> None:
        self.tile: Tile
        """The one being processed."""
        self.fixed: tuple[Tensor, Tensor] | None = None
        self.sums: list[Tensor] = []
        self.counts: list[int] = []

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the picture's means and variances, or the tile's while measuring."""
        if self.fixed is not None:
            return self.fixed
        kept = self.tile.keep(x)
        moments = torch.stack(torch.var_mean(kept, (0, 2, 3), correction=0))
        self.device = x.device
        self.counts.append(kept.shape[-2] * kept.shape[-1])
        variance, mean = moments.cpu().double()  # on the CPU, as MPS has no float64
        self.sums.append(self.counts[-1] * torch.stack([mean, variance + mean**2]))
        return moments[1], moments[0]

    def fix(self) -> None:
        """End measuring."""
        mean, mean_square = torch.stack(self.sums).sum(0) / sum(self.counts)
        variance = (mean_square - mean**2).clamp(min=0)
        self.fixed = (mean.float().to(self.device), variance.float().to(self.device))


def norms_of(unit: nn.Module) -> list[InstanceNorm]:
    """Return the instance norms of a unit, in the order in which they run."""
    return [module for module in unit.modules() if isinstance(module, InstanceNorm)]


@contextmanager
def whole_statistics(norm: InstanceNorm) -> Iterator[WholeStatistics]:
    """Let the norm use the statistics that are yielded."""
    norm.statistics = statistics = WholeStatistics()
    try:
        yield statistics
    finally:
        norm.statistics = None


class FeatureFile:
    """Features of a whole picture, (1, C, H, W), in a temporary file made by the first write."""

    def __init__(self, height: int, width: int) -> None:
        self.height = height
        self.width = width
        self.memory: mmap.mmap | None = None

    def read(self, rows: slice, columns: slice) -> Tensor:
        """Return a copy of some rows and columns."""
        part = self.features[..., rows, columns].clone().to(self.device)
        self._forget()
        return part

    def write(self, tile: Tile, part: Tensor) -> None:
        """Store a tile's result, which is smaller than its input by a whole factor, or equal."""
        if self.memory is None:
            self._allocate(part)
        scale = (tile.inner[0].stop - tile.inner[0].start) // part.shape[-2]
        rows, columns = (slice(s.start // scale, s.stop // scale) for s in tile.inner)
        self.features[..., rows, columns] = part
        self._forget()

    def _allocate(self, part: Tensor) -> None:
        channels = part.shape[1]
        size = channels * self.height * self.width * part.dtype.itemsize
        with tempfile.TemporaryFile() as file:
            if hasattr(os, "posix_fallocate"):  # a disk found full later would kill the process
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            self.memory = mmap.mmap(file.fileno(), size)
        flat = torch.frombuffer(self.memory, dtype=part.dtype)
        self.features = flat.view(1, self.height, self.width, channels).permute(0, 3, 1, 2)
        self.device = part.device

    def _forget(self) -> None:
        if self.memory is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.memory.madvise(mmap.MADV_DONTNEED)  # it stays in the file


def _private(network: TransformerNetwork) -> TransformerNetwork:
    """Return a copy with modules of its own, so that statistics set on norms concern no other pass.

    Parameters and buffers are shared.
    """
    return copy.deepcopy(network, {id(t): t for t in (*network.parameters(), *network.buffers())})


def run_unit(
    unit: nn.Module,
    tiles: list[Tile],
    read: Callable[[slice, slice], Tensor],
    write: Callable[[Tile, Tensor], None],
    progress: Callable[[float], None],
) -> None:
    """Run all tiles through a unit; its norms are measured over all of them, one by one.

    Args:
        unit: part of a network.
        tiles: cover its input.
        read: returns rows and columns of its input, (1, C, h, w).
        write: called with each tile and its result without the margin.
        progress: called with the fraction done, in [0, 1].
    """
    norms = norms_of(unit)
    with ExitStack() as stack:
        for measured in range(len(norms) + 1):
            statistics = None
            if measured < len(norms):
                statistics = stack.enter_context(whole_statistics(norms[measured]))
            for done, tile in enumerate(tiles, 1):
                if statistics is not None:
                    statistics.tile = tile
                result = unit(read(*tile.outer))
                if statistics is None:
                    write(tile, tile.keep(result))
                progress((measured + done / len(tiles)) / (len(norms) + 1))
            if statistics is not None:
                statistics.fix()


def stylize_in_tiles(
    network: TransformerNetwork,
    height: int,
    width: int,
    tile_px: int,
    read: Callable[[slice, slice], Tensor],
    write: Callable[[slice, slice, Tensor], None],
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Stylize a picture tile by tile; the network may be in use by other threads.

    Args:
        network: in evaluation mode.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        tile_px: side of the tiles without their margins, rounded up to the network's stride.
        read: returns rows and columns of the picture, (1, 3, h, w) in [0, 1].
        write: called with rows and columns, and their result, (1, 3, h, w) in [0, 1].
        progress: called with the fraction done, in [0, 1].

    Raises:
        OSError: there is no room on the disk for the features at quarter resolution.
    """
    network = _private(network)
    full = (network.padded_px(height), network.padded_px(width))
    quarter = (full[0] // network.scale, full[1] // network.scale)
    first, *middle, last = network.units()
    tile_px = network.padded_px(tile_px)
    tiles = split(*full, tile_px, network.margin_px)
    small_tiles = split(*quarter, tile_px // network.scale, network.margin_px)
    passes = [len(norms_of(unit)) + 1 for unit in network.units()]

    def share_of(number: int) -> Callable[[float], None]:
        before = sum(passes[:number])
        return lambda share: progress((before + share * passes[number]) / sum(passes))

    def read_padded(rows: slice, columns: slice) -> Tensor:
        image = read(
            slice(rows.start, min(rows.stop, height)),
            slice(columns.start, min(columns.stop, width)),
        )
        below = rows.stop - rows.start - image.shape[-2]
        beside = columns.stop - columns.start - image.shape[-1]
        return F.pad(image, (0, beside, 0, below), mode="replicate")

    def write_scaled_up(tile: Tile, part: Tensor) -> None:
        top, left = (span.start * network.scale for span in tile.inner)
        part = part[..., : height - top, : width - left]
        rows, columns = slice(top, top + part.shape[-2]), slice(left, left + part.shape[-1])
        write(rows, columns, part)

    before = FeatureFile(*quarter)
    run_unit(first, tiles, read_padded, before.write, share_of(0))
    for number, unit in enumerate(middle, 1):
        after = FeatureFile(*quarter)  # a new one: units may have different numbers of channels
        run_unit(unit, small_tiles, before.read, after.write, share_of(number))
        before = after
    run_unit(last, small_tiles, before.read, write_scaled_up, share_of(len(passes) - 1))
