"""Weights of ONNX files in half the bytes, where half precision holds them exactly."""

from pathlib import Path

import numpy as np

_MIN_VALUES = 64
"""Smaller tensors are not worth a node."""


def store_in_half(path: Path) -> None:
    """Store those fp32 weights of an ONNX file as fp16 that lose nothing by it.

    Each is cast when the file is loaded: runtimes compute what they did. Released models are
    stored as fp16, so that all of their weights are among those.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    casts = []
    for weights in model.graph.initializer:
        wide = numpy_helper.to_array(weights)
        if wide.dtype != np.float32 or wide.size < _MIN_VALUES:
            continue
        with np.errstate(over="ignore"):
            half = wide.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), wide):
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(half, f"{name}_fp16"))
        casts.append(
            onnx.helper.make_node("Cast", [weights.name], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, path)
