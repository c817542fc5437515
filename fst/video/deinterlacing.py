"""Interlaced frames become progressive ones, by FFmpeg's bwdif; others pass through as they are."""

from collections.abc import Iterator
from typing import Any

from fst.video.formats import pyav

_MIN_PX = 4
"""The filter takes no smaller sides."""


class Deinterlacer:
    """Takes frames in the order of display and returns as many, some of them later.

    Their times are those of `frame.pts` in `frame.time_base`, which the filter changes.
    """

    def __init__(self) -> None:
        self._graph: Any = None
        self._takes: tuple[object, ...] = ()

    @property
    def used(self) -> bool:
        """Whether any frame was interlaced."""
        return self._takes != ()

    def __call__(self, frame: Any) -> Iterator[Any]:
        """Take a frame; yield those that are ready."""
        kind = frame.width, frame.height, frame.format.name
        if self._graph is not None and kind != self._takes:
            yield from self.flush()
        if self._graph is None and frame.interlaced_frame and min(kind[:2]) >= _MIN_PX:
            self._graph, self._takes = _graph(frame), kind
        if self._graph is None:
            yield frame
        else:
            self._graph.push(frame)
            yield from self._ready()

    def flush(self) -> Iterator[Any]:
        """Yield the frames that are left; the next one starts afresh."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[Any]:
        error = pyav().error
        while True:
            try:
                frame = self._graph.pull()
            except (error.BlockingIOError, error.EOFError):  # it waits for more, or has ended
                return
            yield frame


def _graph(frame: Any) -> Any:
    graph = pyav().filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(frame, time_base=frame.time_base)
    only_marked = graph.add("bwdif", mode="send_frame", deint="interlaced")
    graph.link_nodes(source, only_marked, graph.add("buffersink")).configure()
    return graph
