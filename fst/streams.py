"""The random streams of a training: all follow from its seed, and drawing from one moves no other.

A draw depends on the seed and a position alone, whatever the batch size and the number of
processes, and whenever the run was resumed.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What is drawn."""

    ORDER = 0
    """The photographs' order in each epoch."""
    CROP = 1
    """The crop of a photograph."""
    HELDOUT = 2
    """Which pictures are held out."""
    SECOND_VIEW = 3
    """The second view that the temporal term compares with."""
    TURN = 4
    """The order in which several styles have their turns."""
    PAINTING = 5
    """With which other painting one is mixed, and the strength, where any painting is taken."""
    PAINTINGS = 6
    """The seed by which paintings are drawn and cut."""

    def random(self, seed: int, *position: int) -> np.random.Generator:
        """Return the generator of this stream at a position."""
        return np.random.default_rng((seed, int(self), *position))
