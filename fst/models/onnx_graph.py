"""What an ONNX file has in its graph, read without onnxruntime, which would allocate it.

Only the structure of the messages is read, as ONNX's `onnx.proto` numbers their fields.
"""

from collections.abc import Iterator
from pathlib import Path

from fst.errors import UserError

_GRAPH, _FUNCTION = 7, 25  # of a model
_NODE, _SPARSE_INITIALIZER = 1, 15  # of a graph
_NODE_OF_FUNCTION = 7
_ATTRIBUTE = 5  # of a node
_LOOPS, _SPARSE_TENSORS = "loops or branches", "sparse tensors"
_UNBOUNDED = {6: _LOOPS, 11: _LOOPS, 22: _SPARSE_TENSORS, 23: _SPARSE_TENSORS}  # of an attribute
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def refuse_unbounded(path: Path) -> None:
    """Raise UserError for what `fst export` never writes and nobody could bound.

    Nodes with graphs of their own may loop for ever, and a sparse tensor of a few bytes becomes a
    dense one of any size as soon as the file is loaded.

    Raises:
        OSError: the file cannot be read.
        UserError: it has such nodes or tensors, or is not an ONNX model.
    """
    try:
        found = set(_find_unbounded(memoryview(path.read_bytes())))
    except (IndexError, ValueError) as error:
        raise UserError(f"{path} is damaged or not an ONNX model") from error
    if found:
        raise UserError(
            f"{path} has {' and '.join(sorted(found))}, which `fst export` never writes: their "
            "memory and time have no bounds"
        )


def _find_unbounded(model: memoryview) -> Iterator[str]:
    nodes: list[memoryview] = []
    for field, content in _messages(model):
        if field == _GRAPH:
            for inner, part in _messages(content):
                if inner == _NODE:
                    nodes.append(part)
                elif inner == _SPARSE_INITIALIZER:
                    yield _SPARSE_TENSORS
        elif field == _FUNCTION:
            nodes += [part for inner, part in _messages(content) if inner == _NODE_OF_FUNCTION]
    for node in nodes:
        for field, attribute in _messages(node):
            if field == _ATTRIBUTE:
                kinds = {kind for kind, _ in _messages(attribute)}
                yield from (_UNBOUNDED[kind] for kind in kinds & _UNBOUNDED.keys())


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and the content of each field that holds bytes; the others are skipped."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("cut off")
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a place, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number of more than 10 bytes")
