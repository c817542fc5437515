"""Faces kept: of the faces in photographs, how many a detector still finds in the results.

A style may take everything but that: somebody who is no longer recognised as a face is lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fst.pictures.faces import IN_PHOTOGRAPHS, find_faces

IN_RESULTS = 0.25
"""Score above which the detector is believed on results, where the place is known already: paint
need not look like skin."""
SAME_PLACE = 0.3
"""Intersection over union from which two boxes are of the same face."""


@dataclass(frozen=True)
class Faces:
    """How many faces the photographs have, and how many of them the results still have."""

    found: int
    kept: int

    @property
    def share(self) -> float | None:
        """The share that is kept; None where there were none."""
        return self.kept / self.found if self.found else None

    def __str__(self) -> str:
        return f"{self.kept} of {self.found}"


def count_faces(pairs: Iterable[tuple[Tensor, Tensor]]) -> Faces:
    """Count the faces of photographs, and those that are found at the same place in the results.

    Args:
        pairs: of a photograph (1, 3, H, W) in [0, 1] and the result of the same size.

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    found = kept = 0
    for photograph, result in pairs:
        faces = find_faces(photograph, IN_PHOTOGRAPHS)
        found += len(faces)
        if len(faces):
            overlaps = _overlaps(faces, find_faces(result, IN_RESULTS))
            kept += int((overlaps.max(1, initial=0) >= SAME_PLACE).sum())
    return Faces(found, kept)


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each box (N, 4) with each of the others, (N, M)."""
    a, b = boxes[:, None], others[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clip(0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (a, b)]
    return np.asarray(shared / (sum(areas) - shared))
