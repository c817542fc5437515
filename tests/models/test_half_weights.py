"""Weights in half the bytes: exactly the same ones, or left as they are."""

from pathlib import Path

import numpy as np
import pytest

from fst.models.half_weights import store_in_half

onnx = pytest.importorskip("onnx", reason="pip install 'fst-style-transfer[export]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'fst-style-transfer[export]'")


@pytest.mark.parametrize(
    "least, stored",
    [(1.0, np.float16), (1.0001, np.float32), (1e6, np.float32), (1e-9, np.float32)],
    ids=["exact", "too fine", "too large", "too small"],
)
def test_only_weights_that_fp16_holds_are_stored_so(tmp_path: Path, least: float, stored: type):
    weights = np.random.default_rng(0).integers(-64, 64, (16, 16)).astype(np.float32) / 32
    weights[3, 4] = least
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "multiply",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [16, 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [16, 16])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    store_in_half(path)
    (kept,) = onnx.load(path).graph.initializer
    assert onnx.numpy_helper.to_array(kept).dtype == stored
    (result,) = onnxruntime.InferenceSession(path).run(None, {"x": np.eye(16, dtype=np.float32)})
    assert np.array_equal(result, weights)
