"""Models as their signatures describe them, and a stand-in for the runtime that answers plans from a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from core.inference.dtypes import DataType
from core.inference.run_plan import RunPlan
from core.inference.signature import CLASSIFY_METHOD, PREDICT_METHOD, REGRESS_METHOD, ServedModel, Signature, TensorSpec
from core.protos import serving_pb2, tensor_pb2

FLOATS = (-1, 1)


def spec(tensor: str, dtype: DataType = DataType.FLOAT, shape: tuple[int, ...] | None = FLOATS) -> TensorSpec:
    """Describe one tensor; floats in a column unless told otherwise."""
    return TensorSpec(tensor, dtype, shape)


EXAMPLES = spec("tf_example:0", DataType.STRING, (-1,))


def half_plus_two(name: str = "h2", version: int = 123) -> ServedModel:
    """Declare the model that most cases use."""
    signatures = {
        "serving_default": Signature({"x": spec("x:0")}, {"y": spec("y:0")}, PREDICT_METHOD),
        "regress_x_to_y": Signature({"inputs": EXAMPLES}, {"outputs": spec("y:0")}, REGRESS_METHOD),
        "regress_x_to_y2": Signature({"inputs": EXAMPLES}, {"outputs": spec("y2:0")}, REGRESS_METHOD),
        "classify_x_to_y": Signature({"inputs": EXAMPLES}, {"scores": spec("y:0")}, CLASSIFY_METHOD),
        "regress_x2_to_y3": Signature({"inputs": spec("x2:0")}, {"outputs": spec("y3:0")}, REGRESS_METHOD),
        "classify_x2_to_y3": Signature({"inputs": spec("x2:0")}, {"scores": spec("y3:0")}, CLASSIFY_METHOD),
    }
    return ServedModel(name, version, signatures)


def with_signature(signature: Signature, key: str = "serving_default") -> ServedModel:
    """Declare a model with one signature."""
    return ServedModel("m", 1, {key: signature})


def answer(plan: RunPlan, tensors: Mapping[str, np.ndarray]) -> bytes:
    """Encode a plan's answer as if the runtime had produced these tensors."""
    return plan.encode([tensors[name] for name in plan.fetches])


def example(**features: float) -> tensor_pb2.Example:
    """Make an Example with one float per feature."""
    made = tensor_pb2.Example()
    for name, value in features.items():
        made.features.feature[name].float_list.value.append(value)
    return made


def model_spec(name: str = "h2", **fields: str) -> serving_pb2.ModelSpec:
    """Make the model spec of a request."""
    return serving_pb2.ModelSpec(name=name, **fields)
