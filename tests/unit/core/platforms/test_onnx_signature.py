"""Signatures of ONNX models, of what onnxruntime tells of their inputs and outputs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from core.errors import Internal, InvalidArgument, RuntimeFailure
from core.inference.dtypes import DataType
from core.inference.signature import DEFAULT_SIGNATURE, UNCONVERTED, TensorSpec, check_carried
from core.platforms.onnx_signature import (
    MOST_REPLACED_ELEMENTS,
    WITH_INITIALIZERS,
    gives_scores,
    is_light_onnx,
    onnx_signatures,
    score_columns,
)
from tests.support.onnx_models import doubled_many_times, identity, model, node, plus_weights, value


def told(name: str, kind: str = "tensor(float)", shape: list[int | str | None] | None = None) -> SimpleNamespace:
    """Make what onnxruntime tells of one input or output."""
    return SimpleNamespace(name=name, type=kind, shape=["n", 2] if shape is None else shape)


def spec_of(value: SimpleNamespace, *, output: bool = False) -> TensorSpec:
    """Return how a signature declares one value."""
    x = told("x")
    found = onnx_signatures([x if output else value], [value if output else x]).signatures[DEFAULT_SIGNATURE]
    return (found.outputs if output else found.inputs)[value.name]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("float", DataType.FLOAT), ("double", DataType.DOUBLE), ("float16", DataType.HALF), ("string", DataType.STRING),
        ("bool", DataType.BOOL), ("int8", DataType.INT8), ("int16", DataType.INT16), ("int32", DataType.INT32),
        ("int64", DataType.INT64), ("uint8", DataType.UINT8), ("uint16", DataType.UINT16),
        ("uint32", DataType.UINT32), ("uint64", DataType.UINT64),
    ],
)  # fmt: skip
def test_types_are_those_of_tensorflow(kind: str, dtype: DataType) -> None:
    """All that go through numpy."""
    assert spec_of(told("x", f"tensor({kind})")) == TensorSpec("x", dtype, (-1, 2))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([3, 2], (3, 2)),
        (["batch", 2], (-1, 2)),
        ([None, "k", 0], (-1, -1, 0)),
        ([-1, 4], (-1, 4)),
        ([], None),
    ],
)
def test_dimensions_with_names_are_open(shape, expected) -> None:
    """The runtime tells a scalar and an open rank alike, and takes every rank for both."""
    assert spec_of(told("x", shape=shape)).shape == expected


@pytest.mark.parametrize(
    ("kind", "dtype", "composite"),
    [
        ("tensor(bfloat16)", DataType.BFLOAT16, UNCONVERTED),
        ("tensor(float8e4m3fn)", DataType.FLOAT8_E4M3FN, UNCONVERTED),
        ("tensor(float8e5m2fnuz)", DataType.FLOAT8_E5M2FNUZ, UNCONVERTED),
        ("tensor(int4)", DataType.INT4, UNCONVERTED),
        ("tensor(complex64)", DataType.COMPLEX64, UNCONVERTED),
        ("tensor(of the future)", DataType.VARIANT, "tensor"),
        ("tensor(future)", DataType.INVALID, UNCONVERTED),
        ("seq(tensor(float))", DataType.VARIANT, "sequence"),
        ("map(string,tensor(float))", DataType.VARIANT, "map"),
        ("optional(tensor(float))", DataType.VARIANT, "optional"),
        ("sparse_tensor(float)", DataType.VARIANT, "sparse"),
        ("seq(map(string,tensor(string)))", DataType.VARIANT, "sequence"),
    ],
)
def test_what_is_not_a_tensor_for_clients_is_declared_and_refused(kind, dtype, composite) -> None:
    """Only in calls that need it."""
    found = onnx_signatures([told("x")], [told("y"), told("parts", kind)]).signatures[DEFAULT_SIGNATURE]

    assert (found.outputs["parts"].dtype, found.outputs["parts"].composite) == (dtype, composite)
    assert not found.is_carried
    check_carried(DEFAULT_SIGNATURE, found, ["y"])
    with pytest.raises((InvalidArgument, RuntimeFailure), match='Output "parts" of signature "serving_default" '):
        check_carried(DEFAULT_SIGNATURE, found, ["y", "parts"])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("seq(tensor(float))", "is a sequence, and not one tensor; export the model with its parts as tensors"),
        ("map(string,tensor(float))", "is a map, and not one tensor; export the model with its values as a tensor"),
        ("tensor(bfloat16)", "does not exchange with Python; cast it to another type in the model"),
    ],
)
def test_the_refusal_says_what_to_export_instead(kind: str, text: str) -> None:
    """Of inputs, too."""
    found = onnx_signatures([told("x", kind)], [told("y")]).signatures[DEFAULT_SIGNATURE]

    with pytest.raises(InvalidArgument) as refused:
        check_carried(DEFAULT_SIGNATURE, found, ())

    assert str(refused.value).startswith('Input "x" of signature "serving_default" ')
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("seq(map(int64,tensor(float)))", DataType.FLOAT),
        ("seq(map(string,tensor(float)))", DataType.FLOAT),
        ("seq(map(string,tensor(double)))", DataType.DOUBLE),
    ],
)
def test_the_scores_of_a_classifier_are_a_table(kind: str, dtype: DataType) -> None:
    """As an output; nobody can send them."""
    assert spec_of(told("y", kind), output=True) == TensorSpec("y", dtype, (-1, -1))
    assert gives_scores(told("y", kind))
    assert spec_of(told("x", kind)).composite == "sequence"


@pytest.mark.parametrize("kind", ["tensor(float)", "seq(tensor(float))", "seq(map(string,tensor(int64)))"])
def test_other_outputs_are_not_scores(kind: str) -> None:
    """They are left as they are."""
    assert not gives_scores(told("y", kind))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{1: 0.5, 3: 0.25}, {3: 1.0, 1: 0.0}], [[0.5, 0.25], [0.0, 1.0]]),
        ([{10: 1.0, 9: 2.0, -1: 3.0}], [[3.0, 2.0, 1.0]]),
        ([{"b": 1.0, "a": 2.0, "Ä": 3.0, "": 4.0}], [[4.0, 2.0, 1.0, 3.0]]),
        ([{}], [[]]),
    ],
)
def test_scores_stand_in_the_order_of_labels(rows, expected) -> None:
    """Whatever the order of a row is; texts as their bytes, which is numpy's order, too."""
    table = score_columns("y", rows, np.dtype(np.float32))

    assert table.dtype == np.float32
    assert table.tolist() == expected


def test_no_rows_are_a_table_without_rows() -> None:
    """Their labels are not known."""
    assert score_columns("y", [], np.dtype(np.float64)).shape == (0, 0)


@pytest.mark.parametrize("rows", [[{1: 0.5}, {2: 0.5}], [{1: 0.5}, {1: 0.5, 2: 0.5}], [{"a": 1.0}, {}]])
def test_rows_with_different_labels_are_not_a_table(rows) -> None:
    """They would stand in each other's columns."""
    with pytest.raises(Internal, match='Output "y" has rows with different labels'):
        score_columns("y", rows, np.dtype(np.float32))


def test_initializers_that_are_inputs_have_a_signature_of_their_own() -> None:
    """Without them calls are as they were exported for; their stand-ins take no memory."""
    found = onnx_signatures([told("x")], [told("y")], [told("w", shape=[2]), told("s", "tensor(int64)", [])])
    plain, more = found.signatures[DEFAULT_SIGNATURE], found.signatures[WITH_INITIALIZERS]

    assert {*plain.inputs} == {"x"}
    assert not plain.defaults
    assert {name: (one.dtype, one.shape) for name, one in more.inputs.items()} == {
        "x": (DataType.FLOAT, (-1, 2)),
        "w": (DataType.FLOAT, (2,)),
        "s": (DataType.INT64, ()),
    }
    assert {name: (array.dtype, array.shape) for name, array in more.defaults.items()} == {
        "w": (np.float32, (2,)),
        "s": (np.int64, ()),
    }
    assert all(more.defaults[name] is found.initializers[name] for name in ("w", "s"))


@pytest.mark.parametrize(
    "initializers",
    [
        [],
        [told("w", shape=[MOST_REPLACED_ELEMENTS + 1])],
        [told("w", shape=[MOST_REPLACED_ELEMENTS]), told("b", shape=[1])],
        [told("w", shape=[2]), told("parts", "seq(tensor(float))", [])],
        [told("w", "tensor(bfloat16)", [2])],
    ],
)
def test_weights_are_not_inputs(initializers) -> None:
    """Some exporters declare all of them as inputs; a request cannot carry others."""
    found = onnx_signatures([told("x")], [told("y")], initializers)

    assert {*found.signatures} == {DEFAULT_SIGNATURE}
    assert not found.initializers


@pytest.mark.parametrize(
    ("made", "is_light"),
    [
        (identity(), True),
        (plus_weights(np.ones(2, np.float32)), True),
        (model([node("MatMul", "x x", "y")], [value("x")], [value("y")]), True),
        (model([node("Conv", "x w", "y")], [value("x")], [value("y")]), False),
        (model([node("ConvTranspose", "x w", "y")], [value("x")], [value("y")]), False),
        (model([node("GlobalAveragePool", "x", "y")], [value("x")], [value("y")]), False),
        (model([node("LSTM", "x w r", "y")], [value("x")], [value("y")]), False),
        (model([node("QLinearConv", "x w r", "y")], [value("x")], [value("y")]), False),
        (doubled_many_times(), False),
        # names are not operations
        (model([node("Identity", "Conv", "Pool")], [value("Conv")], [value("Pool")]), True),
    ],
)
def test_operations_without_a_bound_are_not_light(made, is_light: bool) -> None:  # noqa: FBT001
    """Their work does not follow from the number of weights."""
    assert is_light_onnx(made.SerializeToString()) is is_light
