"""Crops at the full resolution of the photographs, for super-resolution: nothing is scaled up."""

import numpy as np
from torch import Tensor

from fst.data.batches import ContentDataset
from fst.pictures.image import UnreadableImageError, to_bytes_tensor

KEPT_BYTES = 2 * 10**9
"""Decoded pictures of up to this size stay in memory: crops are small, and decoding is slow."""
_JPEG = b"\xff\xd8"


class FullSizeDataset(ContentDataset):
    """Crops by position, turned by quarters and mirrored.

    JPEG photographs are halved first, which rids them of the blocks that a network would learn.
    """

    def __init__(self, dataset: ContentDataset, kept_bytes: int = KEPT_BYTES) -> None:
        """Cut from the pictures of another dataset, by its order and its size of crops.

        Args:
            dataset: where the pictures come from.
            kept_bytes: how many bytes of decoded pictures to keep.
        """
        super().__init__(dataset.source, dataset.indices, dataset.crop_px, 1.0, dataset.seed)
        self.kept: dict[int, Tensor | UnreadableImageError] = {}
        self.free_bytes = kept_bytes

    def cut(self, index: int, random: np.random.Generator) -> Tensor:
        """Return a crop of a picture, (3, S, S), uint8.

        Raises:
            UnreadableImageError: the picture cannot be used.
        """
        picture, side = self.picture(index), self.crop_px
        top, left = (random.integers(length - side + 1) for length in picture.shape[1:])
        crop = picture[:, top : top + side, left : left + side]
        crop = crop.rot90(int(random.integers(4)), (1, 2))
        return crop.flip(2) if random.random() < 0.5 else crop

    def picture(self, index: int) -> Tensor:
        """Return a picture, uint8 (3, H, W), decoded once where it can be kept.

        Raises:
            UnreadableImageError: it cannot be decoded, or is smaller than a crop.
        """
        if index in self.kept:
            kept = self.kept[index]
            if isinstance(kept, UnreadableImageError):
                raise kept
            return kept
        decoded = self.source.open(index)
        if jpeg := self.source.read_bytes(index)[:2] == _JPEG:
            decoded = decoded.reduce(2)
        if min(decoded.size) < self.crop_px:
            error = UnreadableImageError(
                f"is smaller than data.crop_px={self.crop_px}: {decoded.width}x{decoded.height} "
                "pixels" + (", as JPEG photographs are halved" if jpeg else "")
            )
            self.kept[index] = error
            raise error
        picture = to_bytes_tensor(decoded).contiguous()
        if picture.nbytes <= self.free_bytes:
            self.kept[index] = picture
            self.free_bytes -= picture.nbytes
        return picture
