"""Passes of networks: few at once, each for all pictures that wait for the same."""

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

MOST_PX = 1_000_000
"""Pictures are taken together up to this many pixels; a larger one is alone."""
Render = Callable[[Tensor], Tensor]
"""Stylizes pictures, uint8 (N, 3, H, W); the result has that shape and type."""


@dataclass(eq=False)
class _Waiting:
    picture: Tensor
    render: Render
    result: Future[Tensor] = field(default_factory=Future)


class Batcher:
    """Runs passes for the threads that ask: whoever comes first takes along those who wait."""

    def __init__(self, passes: int, on_pass: Callable[[int], None] = lambda pictures: None) -> None:
        """Begin without any.

        Args:
            passes: how many run at once.
            on_pass: called with the number of pictures of each pass.
        """
        self.on_pass = on_pass
        self._passes = threading.Semaphore(passes)
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, list[_Waiting]] = defaultdict(list)

    def render(self, same: Hashable, picture: Tensor, render: Render) -> Tensor:
        """Return a picture, uint8 (1, 3, H, W), rendered; raise what `render` raises.

        Args:
            same: equal for pictures that one pass can take: of one size, model and look.
            picture: the pixels.
            render: what to do; that of any of those pictures does it for all.
        """
        own = _Waiting(picture, render)
        with self._lock:
            self._waiting[same].append(own)
        with self._passes:
            self._run(self._take(same, own))
        return own.result.result()

    def _take(self, same: Hashable, own: _Waiting) -> list[_Waiting]:
        """Return a picture and those that go with it; none if it was taken along already."""
        with self._lock:
            waiting = self._waiting[same]
            if own not in waiting:
                taken = []
            else:
                waiting.remove(own)
                height, width = own.picture.shape[-2:]
                others = max(0, MOST_PX // (height * width) - 1)
                taken = [own, *waiting[:others]]
                del waiting[:others]
            if not waiting:
                del self._waiting[same]
        return taken

    def _run(self, taken: list[_Waiting]) -> None:
        """Run a pass; if it fails for several, one for each, so that only those at fault fail."""
        if not taken:
            return
        pictures = [each.picture for each in taken]
        try:
            together = pictures[0] if len(taken) == 1 else torch.cat(pictures)
            results = torch.split(taken[0].render(together), 1)
        except BaseException as error:
            if len(taken) == 1:
                taken[0].result.set_exception(error)
            else:
                for each in taken:
                    self._run([each])
        else:
            self.on_pass(len(taken))
            for each, result in zip(taken, results, strict=True):
                each.result.set_result(result)
