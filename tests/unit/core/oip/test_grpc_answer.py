"""Tests of ModelInferResponse: which form an answer has, and what it says beside its tensors."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature, TensorSpec
from core.oip.grpc_request import plan_grpc_infer
from core.protos import oip_pb2
from tests.support.served_models import half_plus_two

X = np.array([[1.0], [2.0]], np.float32)
RAW_X = {"name": "x", "datatype": "FP32", "shape": [2, 1]}
TYPED_X = {**RAW_X, "contents": {"fp32_contents": [1.0, 2.0]}}


def infer(
    model: ServedModel, arrays: dict[str, np.ndarray], *inputs: Any, raw: Any = (), **fields: Any
) -> oip_pb2.ModelInferResponse:
    request = oip_pb2.ModelInferRequest(inputs=inputs, raw_input_contents=raw, **fields)
    plan = plan_grpc_infer(model, request.SerializeToString())
    return oip_pb2.ModelInferResponse.FromString(plan.answer([arrays[name] for name in plan.fetches]))


def model(**outputs: DataType) -> ServedModel:
    """Return a model without inputs."""
    specs = {name: TensorSpec(f"{name}:0", kind, None) for name, kind in outputs.items()}
    return ServedModel("m", 1, {"serving_default": Signature({}, specs)})


def with_input(served: ServedModel) -> ServedModel:
    signature = served.signatures["serving_default"]
    inputs = {"x": TensorSpec("x:0", DataType.FLOAT, None)}
    return ServedModel("m", 1, {"serving_default": Signature(inputs, signature.outputs)})


def test_a_raw_request_gets_a_raw_answer() -> None:
    """Outputs beside raw contents have no contents of their own, not even empty ones."""
    answer = infer(half_plus_two(), {"y:0": X}, RAW_X, raw=[X.tobytes()])

    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [2, 1])
    assert not output.HasField("contents")
    assert list(answer.raw_output_contents) == [X.tobytes()]


def test_a_typed_request_gets_a_typed_answer() -> None:
    """A client that cannot read raw contents is not given them."""
    answer = infer(half_plus_two(), {"y:0": X}, TYPED_X)

    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", "FP32", [2, 1])
    assert list(output.contents.fp32_contents) == [1.0, 2.0]
    assert list(answer.raw_output_contents) == []


def test_a_request_without_inputs_gets_a_raw_answer() -> None:
    """Nothing says which form it can read, and most clients read the raw one."""
    answer = infer(model(y=DataType.INT64), {"y:0": np.array([1, -1])})

    assert list(answer.raw_output_contents) == [np.array([1, -1]).tobytes()]


@pytest.mark.parametrize(
    ("kind", "dtype", "datatype"),
    [(DataType.HALF, np.float16, "FP16"), (DataType.BFLOAT16, ml_dtypes.bfloat16, "BF16")],
)
def test_an_answer_with_half_precision_is_raw(kind, dtype, datatype) -> None:
    """All of its outputs, although one of them alone has no typed form."""
    half, whole = np.array([1.5], dtype), np.array([1], np.int32)

    answer = infer(with_input(model(h=kind, w=DataType.INT32)), {"h:0": half, "w:0": whole}, TYPED_X)

    assert [one.datatype for one in answer.outputs] == [datatype, "INT32"]
    assert list(answer.raw_output_contents) == [half.tobytes(), whole.tobytes()]


def test_an_output_that_is_not_asked_for_does_not_choose_the_form() -> None:
    """Only what is answered counts."""
    served = with_input(model(h=DataType.HALF, w=DataType.INT32))

    answer = infer(served, {"w:0": np.array([1], np.int32)}, TYPED_X, outputs=[{"name": "w"}])

    assert list(answer.outputs[0].contents.int_contents) == [1]


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (3, 2)])
def test_shapes_are_those_of_the_arrays(shape) -> None:
    """A scalar has none, and a dimension of zero stays."""
    array = np.zeros(shape, np.float64)

    raw = infer(model(y=DataType.DOUBLE), {"y:0": array})
    typed = infer(with_input(model(y=DataType.DOUBLE)), {"y:0": array}, TYPED_X)

    assert tuple(raw.outputs[0].shape) == tuple(typed.outputs[0].shape) == shape
    assert list(raw.raw_output_contents) == [array.tobytes()]
    assert len(typed.outputs[0].contents.fp64_contents) == array.size


def test_outputs_come_in_the_requested_order_and_else_by_name() -> None:
    """Raw contents are read by position."""
    served, arrays = model(b=DataType.INT8, a=DataType.INT8), {"a:0": np.int8([1]), "b:0": np.int8([2])}

    everything = infer(served, arrays)
    chosen = infer(served, arrays, outputs=[{"name": "b"}, {"name": "a"}])

    assert [one.name for one in everything.outputs] == ["a", "b"]
    assert list(everything.raw_output_contents) == [b"\1", b"\2"]
    assert [one.name for one in chosen.outputs] == ["b", "a"]
    assert list(chosen.raw_output_contents) == [b"\2", b"\1"]


def test_an_answer_says_which_version_gave_it_and_repeats_the_id() -> None:
    """Without an id there is none."""
    answer = infer(half_plus_two(), {"y:0": X}, RAW_X, raw=[X.tobytes()], id="☃", model_name="other")
    without = infer(half_plus_two(), {"y:0": X}, TYPED_X)

    assert (answer.model_name, answer.model_version, answer.id) == ("h2", "123", "☃")
    assert (without.model_version, without.id) == ("123", "")


def test_strings_are_written_in_both_forms() -> None:
    """Raw each after its length."""
    strings = np.array([b"", b"\xff\0"], object)

    raw = infer(model(y=DataType.STRING), {"y:0": strings})
    typed = infer(with_input(model(y=DataType.STRING)), {"y:0": strings}, TYPED_X)

    assert list(raw.raw_output_contents) == [b"\0\0\0\0\2\0\0\0\xff\0"]
    assert list(typed.outputs[0].contents.bytes_contents) == [b"", b"\xff\0"]
