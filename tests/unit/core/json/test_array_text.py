"""Tests of tensors as JSON text."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import InvalidArgument
from core.inference.dtypes import DataType, type_of
from core.inference.signature import Signature
from core.inference.tensor_proto import bytes_array
from core.json.array_text import array_text, row_texts
from core.rest import predict as rest_predict
from core.rest.predict_answer import write_columns, write_rows
from tests.support.served_models import spec, with_signature

PRINTED = [np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint32, np.uint64, np.bool_]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
TENSORS = st.one_of(
    st.sampled_from(PRINTED).flatmap(lambda dtype: arrays.arrays(dtype, SHAPES)),
    SHAPES.flatmap(lambda shape: arrays.arrays(object, shape, elements=st.binary(max_size=5), fill=st.nothing())),
)


def strings(*values: bytes, shape: tuple[int, ...] = (-1,)) -> np.ndarray:
    return bytes_array(values).reshape(shape)


def texts(array: np.ndarray, name: str = "y") -> bytes:
    return array_text(name, array)


@given(TENSORS, st.sampled_from(["x", "x_bytes"]))
@example(np.array([np.nan, np.inf, -np.inf, -0.0, 2.0**-149, 3.4028235e38], np.float32), "x")
@example(np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308], np.float64), "x")
@example(np.array([-(2**63), 2**63 - 1]), "x")
@example(np.array([2**64 - 1], np.uint64), "x")
@example(strings(b"", b'"\\\0\x1f', b"\xff\xfe", b"null"), "x")
def test_every_printed_tensor_reads_back_the_same(array: np.ndarray, name: str) -> None:
    """Printing loses no value, no sign, no byte, whatever is printed."""
    dtype = type_of(array)
    model = with_signature(Signature({"x": spec("x:0", dtype)}, {}))

    body = b'{"inputs": ' + array_text(name, array) + b"}"
    read = rest_predict.plan_predict(model, body).feeds["x:0"]

    empty_inside = 0 in array.shape[:-1]
    assert read.dtype == array.dtype
    assert read.shape == array.shape or empty_inside
    assert np.array_equal(read.ravel(), array.ravel(), equal_nan=array.dtype.kind == "f")
    if array.dtype.kind == "f":
        numbers = ~np.isnan(array.ravel())
        assert np.array_equal(np.signbit(read.ravel())[numbers], np.signbit(array.ravel())[numbers])


@given(TENSORS.filter(lambda array: array.ndim > 0))
@example(np.array([[[1, np.nan]], [[-np.inf, 2]]], np.float32))
@example(np.zeros((0, 2), np.float32))
@example(np.zeros((2, 0), np.int32))
def test_rows_are_the_slices_of_the_whole(array: np.ndarray) -> None:
    """Several outputs print the same values as one."""
    rows = row_texts("y_bytes", array)

    assert squeezed(b"[" + b",".join(rows) + b"]") == squeezed(array_text("y_bytes", array))


def squeezed(text: bytes) -> bytes:
    return text.replace(b" ", b"")


@pytest.mark.parametrize(
    ("array", "text"),
    [
        pytest.param(np.float32(1) / np.float32(3), "0.33333334", id="case_C18_float"),
        pytest.param(np.float64(1) / 3, "0.3333333333333333", id="case_C18_double"),
        pytest.param(np.float32(0.2), "0.2", id="case_C18_short"),
        pytest.param(np.float32(42), "42.0", id="whole"),
        pytest.param(np.float32(-0.0), "-0.0", id="minus zero"),
        pytest.param(np.float64(1e300), "1e+300", id="large"),
        pytest.param(np.float32("nan"), "NaN", id="nan"),
        pytest.param(np.float64("-inf"), "-Infinity", id="minus infinity"),
    ],
)
def test_floats_are_as_short_as_they_can_be(array: np.generic, text: str) -> None:
    """Parsed into their own type they give the same value; a whole number keeps its `.0`."""
    assert texts(np.asarray(array)) == text.encode()
    assert np.array_equal(array, type(array)(text), equal_nan=True)


def test_case_C18_values_equal_tensorflow_servings_digits_in_their_own_type() -> None:
    """TensorFlow Serving prints more digits than needed; they mean the same numbers."""
    assert np.float32("0.33333334") == np.float32("0.333333343")
    assert float("0.3333333333333333") == float("0.33333333333333331")


def test_infinities_stand_where_they_were() -> None:
    """The words of RapidJSON are used, although the standard does not know them."""
    array = np.array([[0.2, np.inf], [-np.inf, np.nan]], np.float32)

    assert texts(array) == b"[[0.2, Infinity], [-Infinity, NaN]]"


def test_large_texts_have_no_blanks() -> None:
    """Blanks in a large answer would only cost time."""
    assert b" " not in texts(np.zeros(2000, np.float32))


def test_an_array_in_another_memory_order_prints_like_a_copy() -> None:
    """Transposed arrays are not special to clients."""
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T

    assert texts(array) == b"[[0, 3], [1, 4], [2, 5]]"


@pytest.mark.parametrize("form", [write_rows, write_columns])
@pytest.mark.parametrize(
    ("dtype", "label"),
    [
        pytest.param(np.complex64, "complex64", id="case_C8"),
        pytest.param(np.float16, "half", id="case_C20_half"),
        pytest.param(ml_dtypes.bfloat16, "bfloat16", id="case_C20_bfloat16"),
        pytest.param(np.uint16, "uint16", id="case_C20_uint16"),
    ],
)
def test_types_without_json_form_are_refused(form, dtype: type, label: str) -> None:
    """The model has run already, but its answer cannot be written."""
    for places in ({"y": 0}, {"y": 0, "z": 1}):
        with pytest.raises(InvalidArgument, match=f"^Failed to write JSON value for tensor type: {label}$"):
            form(places, [np.zeros(2, dtype), np.zeros(2, np.float32)])


@pytest.mark.parametrize(
    ("outputs", "answer"),
    [
        pytest.param(
            {"int_tensor": np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2], np.int32).reshape(2, 3, 2)},
            {"predictions": [[[1, 2], [3, 4], [5, 6]], [[7, 8], [9, 0], [1, 2]]]},
            id="case_C1",
        ),
        pytest.param(
            {"str_tensor_bytes": strings(b"hello", b"world", b"tf", b"serving", shape=(2, 2))},
            {"predictions": [[{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}], [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}]]},
            id="case_C4",
        ),
        pytest.param({"y": np.zeros((0, 2), np.int32)}, {"predictions": []}, id="case_C13"),
        pytest.param(
            {"s": np.zeros((0, 1, 2), object), "f": np.zeros((0, 3, 4), np.float32)}, {"predictions": []}, id="case_C14"
        ),
        pytest.param(
            {"a": np.array([[1, 2], [3, 4]], np.float32), "b": strings(b"x", b'"')},
            {"predictions": [{"a": [1.0, 2.0], "b": "x"}, {"a": [3.0, 4.0], "b": '"'}]},
            id="several outputs",
        ),
        pytest.param({"y": strings(b"p", b"q")}, {"predictions": ["p", "q"]}, id="strings"),
    ],
)
def test_row_answers_have_one_entry_per_example(outputs: dict[str, np.ndarray], answer: dict) -> None:
    """A single output has no name, several make an object per example."""
    assert json.loads(write_rows(places(outputs), list(outputs.values()))) == answer


@pytest.mark.parametrize(
    ("outputs", "answer"),
    [
        ({"y": np.array(5, np.float32)}, {"outputs": 5.0}),
        ({"y": np.zeros((2, 0), np.int32)}, {"outputs": [[], []]}),
        ({"a": np.array([1], np.int64), "b": np.array(1, np.bool_)}, {"outputs": {"a": [1], "b": True}}),
        ({"s_bytes": strings(b"hi", shape=())}, {"outputs": {"b64": "aGk="}}),
    ],
)
def test_columnar_answers_hold_whole_tensors(outputs: dict[str, np.ndarray], answer: dict) -> None:
    """Scalars are allowed, and first dimensions may differ."""
    assert json.loads(write_columns(places(outputs), list(outputs.values()))) == answer


def test_small_answers_look_as_tensorflow_servings() -> None:
    """Even the bracket on a line of its own is there."""
    numbers = np.array([[1, 2], [3, 4]], np.float32)
    counts = np.array([3, 4], np.int32)

    single = write_rows({"y": 0}, [numbers])
    several = write_rows({"a": 0, "b": 1}, [numbers[:1], counts[:1]])

    assert single == b'{\n    "predictions": [[1.0, 2.0], [3.0, 4.0]\n    ]\n}'
    assert several == (
        b'{\n    "predictions": [\n        {\n            "a": [1.0, 2.0],\n            "b": 3\n        }\n    ]\n}'
    )


def places(outputs: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: index for index, name in enumerate(outputs)}


def test_every_supported_type_is_known() -> None:
    """The types that JSON can carry are those of the specification."""
    for dtype in (DataType.FLOAT, DataType.BOOL, DataType.UINT64):
        assert texts(np.zeros(0, np.dtype(dtype.label.replace("float", "float32")))) == b"[]"
