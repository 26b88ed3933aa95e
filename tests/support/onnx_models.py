"""Small ONNX models of one kind of node each, made by the `onnx` package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None] | None


def value(name: str, dtype: int = TensorProto.FLOAT, shape: Shape = ("n", 2)) -> onnx.ValueInfoProto:
    """Describe an input or an output; rows of two floats unless told otherwise."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: dict[str, np.ndarray] | None = None,
    **versions: int,
) -> onnx.ModelProto:
    """Make a model; `ir_version` and `opset` are what every onnxruntime of the allowed ones reads."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (initializers or {}).items()]
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), tensors)
    opsets = [helper.make_opsetid("", versions.get("opset", 21)), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=versions.get("ir_version", 10))


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Make a node; names are separated by spaces."""
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def identity(dtype: int = TensorProto.FLOAT, shape: Shape = ("n", 2)) -> onnx.ModelProto:
    """Answer `y` with `x`."""
    return model([node("Identity", "x", "y")], [value("x", dtype, shape)], [value("y", dtype, shape)])


def plus_weights(weights: np.ndarray, *more_inputs: onnx.ValueInfoProto) -> onnx.ModelProto:
    """Answer `y` with `x` plus an initializer `w`, which may be an input, too."""
    shape = ("n", *weights.shape) if weights.ndim else ("n", 2)
    inputs = [value("x", shape=shape), *more_inputs]
    return model([node("Add", "x w", "y")], inputs, [value("y", shape=shape)], {"w": weights})


def doubled_many_times() -> onnx.ModelProto:
    """Double `x` as often as `times` says: a run that may last for ever."""
    body = helper.make_graph(
        [node("Identity", "go", "go_on"), node("Add", "v v", "w")],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("v", shape=[2])],
        [value("go_on", TensorProto.BOOL, []), value("w", shape=[2])],
    )
    loop = helper.make_node("Loop", ["times", "", "x"], ["y"], body=body)
    return model([loop], [value("times", TensorProto.INT64, []), value("x", shape=[2])], [value("y", shape=[2])])


def scores(**labels: Sequence[int] | Sequence[str]) -> onnx.ModelProto:
    """Answer `y` with one map from label to score for each row of `x`."""
    key = TensorProto.INT64 if "classlabels_int64s" in labels else TensorProto.STRING
    one = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    output = helper.make_value_info("y", helper.make_sequence_type_proto(one))
    return model([node("ZipMap", "x", "y", domain="ai.onnx.ml", **labels)], [value("x")], [output])


def sequence() -> onnx.ModelProto:
    """Answer `parts` with a sequence of tensors, and `y` with a tensor."""
    parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    nodes = [node("SequenceConstruct", "x x", "parts"), node("Identity", "x", "y")]
    return model(nodes, [value("x")], [parts, value("y")])


def write(folder: Path, made: onnx.ModelProto | bytes, external_data: str = "") -> Path:
    """Write a version's folder; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "model.onnx"
    if isinstance(made, bytes):
        file.write_bytes(made)
    elif external_data:
        onnx.save_model(made, file, save_as_external_data=True, location=external_data, size_threshold=0)
    else:
        onnx.save_model(made, file)
    return folder
