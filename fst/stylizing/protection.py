"""Less of the style on faces: somebody who is no longer recognised as a face is lost."""

import torch
from torch import Tensor

from fst.pictures.faces import find_faces_in_each, nearness
from fst.stylizing.look import Look

ON_FACES = 0.5
"""Share of the strength that faces keep."""


def weaken_on_faces(look: Look, images: Tensor) -> tuple[Look, list[int]]:
    """Return a look that has less strength on faces, and the number of faces in each picture.

    Args:
        look: of the pictures.
        images: (N, 3, H, W), uint8 or float in [0, 1].

    Raises:
        ImportError: the extra `evaluate` is not installed.
    """
    found = find_faces_in_each(images)
    near = torch.cat([nearness(boxes, *images.shape[-2:]) for boxes in found])
    return look.weaken(1 - (1 - ON_FACES) * near), [len(boxes) for boxes in found]
