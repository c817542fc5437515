"""ONNX files from anywhere: what does not do as its metadata say is one line, in bounded memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fst
from fst.config import FastConfig
from fst.errors import UserError
from fst.models import onnx_session
from fst.models.export_info import ExportInfo, export_metadata
from fst.models.model_file import describe
from fst.models.model_info import StyleInfo
from fst.models.runtime import open_exported
from fst.networks.fast import Fast

pytest.importorskip("onnxruntime", reason="pip install 'fst-style-transfer[export]'")
onnx = pytest.importorskip("onnx", reason="pip install 'fst-style-transfer[export]'")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FLOAT, ANY_SIZE = TensorProto.FLOAT, ["N", 3, "H", "W"]


def value(name: str, kind: int = FLOAT, shape: Any = ANY_SIZE) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file as `fst export` might have, but for its graph."""

    def write(
        nodes: list[Any],
        constants: dict[str, Any] | None = None,
        inputs: list[Any] | None = None,
        outputs: list[Any] | None = None,
        sparse: tuple[Any, ...] = (),
        functions: tuple[Any, ...] = (),
        styles: tuple[str, ...] = (),
        **export: Any,
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "graph",
            inputs or [value("image")],
            outputs or [value("out", shape=None)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
            sparse_initializer=list(sparse),
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=8, functions=list(functions)
        )
        info = describe(Fast(FastConfig(width=8)), styles=[StyleInfo(name) for name in styles])
        helper.set_model_props(model, export_metadata(info, ExportInfo("fp32", **export)))
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return write


def same(name: str = "image", output: str = "out") -> Any:
    return helper.make_node("Identity", [name], [output])


def test_a_file_that_does_as_it_says_gives_its_picture(write: Callable[..., Path]):
    image = torch.rand(2, 3, 20, 30)
    assert torch.equal(fst.load(write([same()]), "cpu")(image), image)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        ({"nodes": [same("x")], "inputs": [value("x")]}, "the inputs x and 1 outputs"),
        ({"nodes": [same()], "inputs": [value("image"), value("more")]}, "inputs image, more"),
        ({"nodes": [same(), same(output="b")], "outputs": [value("out"), value("b")]}, "2 outputs"),
        ({"nodes": [same()], "inputs": [value("image", TensorProto.DOUBLE)],
          "outputs": [value("out", TensorProto.DOUBLE)]}, r"image is tensor\(double\)"),
        ({"nodes": [same()], "inputs": [value("image", shape=["N", "H", "W"])]}, "its input image"),
        ({"nodes": [same()], "inputs": [value("image", shape=["N", 4, "H", "W"])]}, "its input"),
        ({"nodes": [same()], "inputs": [value("image", shape=["N", 3, 64, 64])]}, "its input"),
        ({"nodes": [same()], "inputs": [value("image", shape=None)]}, "its input image"),
        ({"nodes": [same()], "size": (64, 48), "inputs": [value("image", shape=[1, 3, 48, 64])]},
         "its input image"),
        ({"nodes": [same()], "uint8": True}, r"tensor\(float\).*not tensor\(uint8\)"),
        ({"nodes": [helper.make_node("Cast", ["image"], ["out"], to=TensorProto.DOUBLE)],
          "outputs": [value("out", TensorProto.DOUBLE)]}, r"its output is tensor\(double\)"),
        ({"nodes": [helper.make_node("SequenceConstruct", ["image"], ["out"])],
          "outputs": [helper.make_tensor_sequence_value_info("out", FLOAT, None)]}, "its output"),
        ({"nodes": [same()], "blend": True, "styles": ("a", "b")}, "not image and shares and 1"),
    ],
)  # fmt: skip
def test_another_signature_is_refused_on_loading(write: Callable[..., Path], graph, message: str):
    path = write(**graph)
    with pytest.raises(UserError, match=message):
        open_exported(path, "cpu", "auto", None)


@pytest.mark.parametrize(
    ("node", "constants", "found"),
    [
        (helper.make_node("Resize", ["image", "", "c"], ["out"]),
         {"c": np.float32([1, 1, 2, 2])}, "(1, 3, 40, 60)"),
        (helper.make_node("Reshape", ["image", "c"], ["out"]), {"c": [-1]}, "(1800,)"),
        (helper.make_node("Transpose", ["image"], ["out"], perm=[0, 1, 3, 2]), {},
         "(1, 3, 30, 20)"),
        (helper.make_node("ReduceMean", ["image", "c"], ["out"]), {"c": [1]}, "(1, 1, 20, 30)"),
        (helper.make_node("Concat", ["image", "image"], ["out"], axis=0), {}, "(2, 3, 20, 30)"),
    ],
)  # fmt: skip
def test_a_result_of_another_shape_is_refused(
    write: Callable[..., Path], node: Any, constants: dict[str, Any], found: str
):
    stylize = fst.load(write([node], constants), "cpu")
    with pytest.raises(UserError, match="its result is .*, not .1, 3, 20, 30.") as refused:
        stylize(torch.rand(1, 3, 20, 30))
    assert found in str(refused.value)


def test_what_fails_at_run_time_is_one_line_and_the_next_picture_is_tried(
    write: Callable[..., Path],
):
    add = helper.make_node("Add", ["image", "c"], ["out"])
    stylize = fst.load(write([add], {"c": np.zeros((1, 1, 1, 30), np.float32)}), "cpu")
    with pytest.raises(UserError, match="model.onnx fails: .*Add") as refused:
        stylize(torch.rand(1, 3, 20, 31))
    assert "\n" not in str(refused.value)
    assert stylize(torch.rand(1, 3, 20, 30)).shape == (1, 3, 20, 30)


def test_a_tiny_file_does_not_take_gigabytes(write: Callable[..., Path]):
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "many"], ["big"]),
        helper.make_node("ReduceMean", ["big"], ["small"], keepdims=0),
        helper.make_node("Add", ["image", "small"], ["out"]),
    ]
    stylize = fst.load(write(nodes, {"many": [10**10]}), "cpu")
    with pytest.raises(UserError, match=r"needs more than 0\.5 GB of memory"):
        stylize(torch.rand(1, 3, 20, 30))


def test_a_larger_picture_may_take_more_memory(write: Callable[..., Path]):
    nodes = [
        helper.make_node("Concat", ["image"] * 40, ["wide"], axis=1),
        helper.make_node("ReduceMean", ["wide", "axis"], ["grey"]),
        helper.make_node("Sub", ["image", "grey"], ["out"]),
    ]
    path = write(nodes, {"axis": [1]})
    session = fst.load(path, "cpu").network.session
    small = session._bytes()
    session.run({"image": np.zeros((1, 3, 1000, 1000), np.float32)}, 10**6)  # 480 B per pixel
    assert session._bytes() >= small + 480 * 900_000


def loop() -> Any:
    body = helper.make_graph(
        [same("on", "still_on"), same("x", "y")],
        "body",
        [value("i", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("x")],
        [value("still_on", TensorProto.BOOL, []), value("y")],
    )
    return helper.make_node("Loop", ["", "on", "image"], ["out"], body=body)


def test_loops_are_refused_before_they_run(write: Callable[..., Path]):
    with pytest.raises(UserError, match="has loops or branches"):
        fst.load(write([loop()], {"on": True}), "cpu")


def test_a_loop_in_a_function_is_refused(write: Callable[..., Path]):
    on = helper.make_node("Constant", [], ["on"], value=numpy_helper.from_array(np.asarray(True)))
    function = helper.make_function(
        "own", "Endless", ["image"], ["out"], [on, loop()], [helper.make_opsetid("", 18)]
    )
    node = helper.make_node("Endless", ["image"], ["out"], domain="own")
    with pytest.raises(UserError, match="has loops or branches"):
        fst.load(write([node], functions=(function,)), "cpu")


def test_sparse_tensors_are_refused_before_they_become_dense(write: Callable[..., Path]):
    def sparse(name: str) -> Any:
        values = helper.make_tensor(name, FLOAT, [1], [1.0])
        return helper.make_sparse_tensor(values, helper.make_tensor("at", 7, [1], [0]), [10**11])

    add = helper.make_node("Add", ["image", "big"], ["out"])
    constant = helper.make_node("Constant", [], ["big"], sparse_value=sparse("c"))
    for graph in ({"nodes": [add], "sparse": (sparse("big"),)}, {"nodes": [constant, add]}):
        with pytest.raises(UserError, match="has sparse tensors"):
            fst.load(write(**graph), "cpu")


def test_a_run_that_takes_too_long_is_stopped(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    names = ["image", *(f"x{i}" for i in range(3000)), "out"]
    nodes = [
        helper.make_node("Softmax", [a], [b], axis=1)
        for a, b in zip(names[:-1], names[1:], strict=True)
    ]
    monkeypatch.setattr(onnx_session, "SECONDS_PER_PIXEL", 0.0)
    stylize = fst.load(write(nodes), "cpu")
    stylize.network.session._patience_s = 0.01
    with pytest.raises(UserError, match="fails: it was stopped after 0 s"):
        stylize(torch.rand(1, 3, 256, 256))
