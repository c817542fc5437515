"""Damaged ONNX files, seeded: an exported model with odd nodes, weights, signatures and metadata.

python scripts/fuzz/fuzz_models.py onnx 200
"""

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from fuzzing import ODD_VALUES, damage
from onnx import TensorProto, helper, numpy_helper

from fst.config import FastConfig
from fst.models.export_options import ExportOptions
from fst.models.model_file import describe
from fst.models.onnx_export import export_onnx
from fst.networks.fast import Fast

KINDS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64,
         TensorProto.DOUBLE, TensorProto.STRING)  # fmt: skip
SIZES = (0, 1, 3, -1, 64, 10**6, 10**9, 2**40)
OPERATORS = ("Add", "MatMul", "Identity", "Relu", "Transpose", "Shape", "Resize", "Tile", "Expand",
             "ConstantOfShape", "ReduceMean", "Slice", "Gather", "NonZero", "Unknown")  # fmt: skip


def onnx_cases(seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield damaged ONNX files without end."""
    whole = export_bytes(seed)
    kinds: list[Callable[[onnx.ModelProto, random.Random], None]] = [
        odd_node, odd_node, odd_wire, odd_weight, odd_weight, odd_signature, odd_metadata, greedy,
    ]  # fmt: skip
    for number in range(10**9):
        chance = random.Random(f"{seed}/{number}")
        if chance.random() < 0.15:
            yield ".onnx", damage(whole, chance)
            continue
        model = onnx.load_from_string(whole)
        for _ in range(chance.choice((1, 1, 2))):
            chance.choice(kinds)(model, chance)
        yield ".onnx", model.SerializeToString()


def export_bytes(seed: int) -> bytes:
    """Return a small model as `fst export` writes it."""
    torch.manual_seed(seed)
    network = Fast(FastConfig(width=8, residual_blocks=1, coarse_blocks=1, coarse_width=8)).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(path, network, describe(network, title="Stripes"), ExportOptions())
        return path.read_bytes()


def odd_node(model: onnx.ModelProto, chance: random.Random) -> None:
    """Remove a node, or change its operator or one of its attributes."""
    nodes = model.graph.node
    node = chance.choice(nodes)
    kind = chance.randrange(3)
    if kind == 0:
        nodes.remove(node)
    elif kind == 1:
        node.op_type = chance.choice(OPERATORS)
    elif node.attribute:
        attribute = chance.choice(node.attribute)
        odd = chance.choice((-1, 0, 7, 10**9, [0], [10**6] * 4, [], "x", 1.5, float("nan")))
        node.attribute.remove(attribute)
        if odd != []:
            node.attribute.append(helper.make_attribute(attribute.name, odd))


def odd_wire(model: onnx.ModelProto, chance: random.Random) -> None:
    """Feed a node with another node's result, with nothing, or with its own."""
    node = chance.choice([each for each in model.graph.node if each.input])
    names = [name for each in model.graph.node for name in each.output]
    node.input[chance.randrange(len(node.input))] = chance.choice([*names, "", "nowhere", "image"])


def odd_weight(model: onnx.ModelProto, chance: random.Random) -> None:
    """Change the size, the type or the values of an initializer."""
    weight = chance.choice(model.graph.initializer)
    kind = chance.randrange(4)
    if kind == 0 and weight.dims:
        weight.dims[chance.randrange(len(weight.dims))] = chance.choice(SIZES)
    elif kind == 1:
        weight.data_type = chance.choice(KINDS)
    elif kind == 2:
        values = numpy_helper.to_array(weight)
        odd = chance.choice((np.nan, np.inf, 1e38, -1, 0, 10**6))
        with np.errstate(invalid="ignore"):
            filled = np.full_like(values, odd if values.dtype.kind == "f" else 10**6)
        weight.CopyFrom(numpy_helper.from_array(filled, weight.name))
    else:
        index = helper.make_tensor("at", TensorProto.INT64, [1], [0])
        value = helper.make_tensor(weight.name, TensorProto.FLOAT, [1], [1.0])
        sparse = helper.make_sparse_tensor(value, index, [chance.choice((64, 10**9))])
        model.graph.initializer.remove(weight)
        model.graph.sparse_initializer.append(sparse)


def odd_signature(model: onnx.ModelProto, chance: random.Random) -> None:
    """Change what the file says of its inputs and outputs, or how many there are."""
    graph = model.graph
    place = chance.choice((graph.input, graph.output))
    kind = chance.randrange(4)
    if kind == 0:
        place[0].name = chance.choice(("x", "", graph.node[0].output[0], "\x1b[2J"))
    elif kind == 1:
        place[0].type.tensor_type.elem_type = chance.choice(KINDS)
    elif kind == 2:
        dims = place[0].type.tensor_type.shape.dim
        dims[chance.randrange(len(dims))].dim_value = chance.choice(SIZES)
    else:
        name = chance.choice((graph.node[-2].output[0], "more"))
        place.append(helper.make_tensor_value_info(name, chance.choice(KINDS), ["N", 3, "H", "W"]))


def odd_metadata(model: onnx.ModelProto, chance: random.Random) -> None:
    """Change a value that the file says about itself."""
    entry = chance.choice(model.metadata_props)
    try:
        values: Any = json.loads(entry.value)
    except ValueError:  # it was changed before
        return
    values[chance.choice([*values])] = chance.choice(ODD_VALUES)
    entry.value = json.dumps(values)


def greedy(model: onnx.ModelProto, chance: random.Random) -> None:
    """Put nodes that ask for much memory or time between the network and its output."""
    graph, sizes = model.graph, [chance.choice((10**3, 10**5, 10**8, 10**10))]
    last = graph.node[-1]
    inner, outer = "inner", last.output[0]
    last.output[0] = inner
    graph.initializer.append(numpy_helper.from_array(np.array(sizes), "sizes"))
    kind = chance.choice(("Expand", "ConstantOfShape", "RandomNormal", "Tile", "Resize", "Loop"))
    if kind == "Loop":
        graph.initializer.append(numpy_helper.from_array(np.array(True), "on"))
        body = helper.make_graph(
            [helper.make_node("Identity", [a], [b]) for a, b in (("i", "j"), ("x", "y"))],
            "body",
            [helper.make_tensor_value_info("n", TensorProto.INT64, []),
             helper.make_tensor_value_info("i", TensorProto.BOOL, []),
             helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
            [helper.make_tensor_value_info("j", TensorProto.BOOL, []),
             helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )  # fmt: skip
        graph.node.append(helper.make_node("Loop", ["", "on", inner], [outer], body=body))
        return
    graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32) * 40, "scales"))
    graph.node.extend(
        {
            "Expand": [helper.make_node("ReduceMean", [inner], ["mean"], keepdims=0),
                       helper.make_node("Expand", ["mean", "sizes"], ["big"])],
            "ConstantOfShape": [helper.make_node("ConstantOfShape", ["sizes"], ["big"])],
            "RandomNormal": [helper.make_node("RandomNormal", [], ["big"], shape=sizes)],
            "Tile": [helper.make_node("Flatten", [inner], ["flat"], axis=4),
                     helper.make_node("Squeeze", ["flat"], ["line"]),
                     helper.make_node("Tile", ["line", "sizes"], ["big"])],
            "Resize": [helper.make_node("Resize", [inner, "", "scales"], ["big"])],
        }[kind]
    )  # fmt: skip
    graph.node.append(helper.make_node("ReduceMean", ["big"], ["small"], keepdims=0))
    graph.node.append(helper.make_node("Add", [inner, "small"], [outer]))
