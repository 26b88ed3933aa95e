"""Signatures: how they are read from a SavedModel's protos, and which of them Predict may call on demand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.errors import Code, Internal, RuntimeFailure
from core.inference.dtypes import REFERENCE, DataType
from core.inference.signature import (
    PREDICTABLE_METHODS,
    Signature,
    TensorSpec,
    check_carried,
    check_predictable,
    signature,
    tensor_spec,
)
from core.inference.tensor_proto import to_proto
from core.protos import tensor_pb2


def info(name: str = "x:0", dtype: int = 1, dims: tuple[int, ...] | None = (-1, 3)) -> tensor_pb2.TensorInfo:
    """Make a TensorInfo; without dimensions its rank is unknown."""
    made = tensor_pb2.TensorInfo(name=name, dtype=dtype)
    made.tensor_shape.unknown_rank = dims is None
    for size in dims or ():
        made.tensor_shape.dim.add(size=size)
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (info(), TensorSpec("x:0", DataType.FLOAT, (-1, 3))),
        (info(dims=()), TensorSpec("x:0", DataType.FLOAT, ())),
        (info(dims=None), TensorSpec("x:0", DataType.FLOAT, None)),
        (info(dtype=REFERENCE + 7), TensorSpec("x:0", DataType.STRING, (-1, 3))),
    ],
    ids=["shape", "scalar", "unknown rank", "reference"],
)
def test_a_tensor_is_read_with_its_shape(given, expected) -> None:
    """A scalar and an unknown rank differ; a reference to a variable has the type of its value."""
    assert tensor_spec(given) == expected


def test_a_signature_is_read_with_its_defaults() -> None:
    """Default values are arrays."""
    definition = tensor_pb2.SignatureDef(method_name="m", inputs={"x": info()}, outputs={"y": info("y:0")})
    definition.defaults["x"].CopyFrom(to_proto(np.array([2.5], np.float32)))

    read = signature(definition)

    assert (dict(read.inputs), dict(read.outputs), read.method) == (
        {"x": tensor_spec(info())},
        {"y": tensor_spec(info("y:0"))},
        "m",
    )
    assert read.defaults["x"].tolist() == [2.5]


@pytest.mark.parametrize("method", PREDICTABLE_METHODS)
def test_a_signature_of_each_known_method_can_be_predicted(method) -> None:
    """Also those for examples."""
    check_predictable(Signature({}, {}, method))


def test_a_signature_of_another_method_is_refused_in_tensorflow_servings_words() -> None:
    """All known methods are named."""
    text = (
        "Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        "tensorflow/serving/classify, tensorflow/serving/regress}. Was: other"
    )
    with pytest.raises(Internal, match=f"^{re.escape(text)}$"):
        check_predictable(Signature({}, {}, "other"))


RAGGED = tensor_pb2.TensorInfo()
RAGGED.composite_tensor.type_spec.type_spec_class = tensor_pb2.TypeSpecProto.RAGGED_TENSOR_SPEC
OTHER = tensor_pb2.TensorInfo()
OTHER.composite_tensor.type_spec.type_spec_class = tensor_pb2.TypeSpecProto.INDEXED_SLICES_SPEC
SPARSE = tensor_pb2.TensorInfo(coo_sparse={"values_tensor_name": "v:0"})
PARTS = "which consists of several tensors; export a signature that has its parts, or a dense form of it, as tensors of their own."
TYPE = "which requests and answers cannot carry; export a signature that casts it to another type."


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        (RAGGED, Code.INVALID_ARGUMENT, f"is a ragged tensor, {PARTS}"),
        (SPARSE, Code.INVALID_ARGUMENT, f"is a sparse tensor, {PARTS}"),
        (OTHER, Code.INVALID_ARGUMENT, f"is a composite tensor, {PARTS}"),
        (tensor_pb2.TensorInfo(name="NoOp"), Code.INVALID_ARGUMENT, "is an operation without a value, which cannot be asked for."),
        (info(dtype=DataType.INT4), Code.UNIMPLEMENTED, f"has type int4, {TYPE}"),
        (info(dtype=DataType.FLOAT8_E5M2FNUZ), Code.UNIMPLEMENTED, f"has type float8_e5m2fnuz, {TYPE}"),
        (info(dtype=DataType.VARIANT), Code.UNIMPLEMENTED, f"has type variant, {TYPE}"),
    ],
    ids=["ragged", "sparse", "composite", "operation", "int4", "float8", "variant"],
)  # fmt: skip
def test_what_no_request_can_carry_is_named_with_the_remedy(
    given: tensor_pb2.TensorInfo, code: Code, text: str
) -> None:
    """By its name in the signature: the graph's own name, if there is one, means nothing to a caller."""
    outputs = signature(tensor_pb2.SignatureDef(inputs={"x": info()}, outputs={"y": given, "z": info("z:0")}))
    inputs = signature(tensor_pb2.SignatureDef(inputs={"x": given}, outputs={"y": info("y:0")}))

    for read, what in ((outputs, 'Output "y"'), (inputs, 'Input "x"')):
        assert not read.is_carried
        with pytest.raises(RuntimeFailure) as caught:
            check_carried("tokens", read, read.outputs)
        assert (caught.value.code, str(caught.value)) == (code, f'{what} of signature "tokens" {text}')
    check_carried("tokens", outputs, ["z"])


def test_usual_tensors_need_no_check() -> None:
    """So that usual calls do not pay for it."""
    assert signature(tensor_pb2.SignatureDef(inputs={"x": info()}, outputs={"y": info("y:0")})).is_carried
