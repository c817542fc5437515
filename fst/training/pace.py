"""How many images `training.minutes` has time for: a run's first steps are timed."""

import time
from collections.abc import Callable

MEASURED_STEPS, MEASURED_SHARE = 5, 0.05
"""At least these steps, and this share of the time, are measured."""
UNUSUAL_STEPS = 3
"""First steps that are not measured: they fill caches, and may compile."""
MOST_MEASURED = 0.5
"""After this share of the time, the steps so far have to do."""


class Pace:
    """A clock that begins with a run, and says how many images fit into its time."""

    def __init__(
        self, seconds: float, save_every: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Begin.

        Args:
            seconds: how long the run may take from here.
            save_every: images between two saves, which take time as well.
            clock: in seconds.
        """
        self.seconds = seconds
        self.save_every = save_every
        self.clock = clock
        self.began = clock()
        self.save_seconds = 0.0
        self.steps = 0
        self.measured_from = (0, 0.0)
        """Images seen and the time after the last unusual step."""

    def end_save(self) -> None:
        """Note that all the time so far went into what every save does again."""
        self.save_seconds = self.clock() - self.began

    def end_step(self, seen_images: int, batch_size: int) -> int:
        """Note a step; return how many images to see in all, or 0 while that is not known.

        Args:
            seen_images: after the step.
            batch_size: images in a step.
        """
        self.steps += 1
        now = self.clock()
        if self.steps <= UNUSUAL_STEPS:
            self.measured_from = (seen_images, now)
        measured, elapsed = self.steps - UNUSUAL_STEPS, now - self.began
        enough = measured >= MEASURED_STEPS and elapsed >= MEASURED_SHARE * self.seconds
        if not enough and not (measured >= 1 and elapsed >= MOST_MEASURED * self.seconds):
            return 0
        images, then = self.measured_from
        per_image = (now - then) / (seen_images - images) + self.save_seconds / self.save_every
        left = self.seconds - elapsed - self.save_seconds  # of the last save
        steps_left = max(1, int(left / (per_image * batch_size)))
        return seen_images + steps_left * batch_size
