"""Values to arrays: which value each element type takes, which shape lists have, and the words of a refusal."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.errors import InvalidArgument, ServingError, Unimplemented
from core.inference.dtypes import DataType
from core.json.tensors import LARGEST_RANK, Column, fast_tensor, fast_values, first_shape, tensor, to_float32
from core.json.values import JsonObject

F, N, S, B = DataType.FLOAT, DataType.INT32, DataType.STRING, DataType.BOOL
BINARY = JsonObject(["b64"], ["aGk="])
BAD_BINARY = JsonObject(["b64"], ["*"])


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (3, F, np.array(3, np.float32)),
        ([1, 2.5], DataType.DOUBLE, np.array([1, 2.5])),
        ([[1], [2]], N, np.array([[1], [2]], np.int32)),
        ([300], DataType.UINT8, np.array([44], np.uint8)),
        ([2**64 - 1], DataType.UINT64, np.array([2**64 - 1], np.uint64)),
        ([True, False], B, np.array([True, False])),
        (["a", BINARY], S, np.array([b"a", b"hi"], object)),
        (["\udcff"], S, np.array([b"\xff"], object)),
        ([[], []], F, np.zeros((2, 0), np.float32)),
    ],
)
def test_values_become_a_tensor_of_the_signatures_type(value, dtype, expected) -> None:
    """Whole lists at once give the same as value by value."""
    fast, exact = fast_tensor(value, dtype), Column(dtype)
    exact.add(value)

    for dense in (fast, tensor(value, dtype)):
        assert dense.shape == expected.shape
        assert dense.values.dtype == expected.dtype
        assert dense.array("a").tolist() == expected.tolist()
    assert exact.dense().values.tolist() == expected.ravel().tolist()


@pytest.mark.parametrize(
    ("value", "dtype", "error"),
    [
        ("x", F, 'JSON Value: "x" Type: String is not of expected type: float'),
        (True, F, "JSON Value: true Type: True is not of expected type: float"),
        (None, N, "JSON Value: null Type: Null is not of expected type: int32"),
        (1.5, N, "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        (2**31, N, "JSON Value: 2147483648 Type: Number is not of expected type: int32"),
        (1, B, "JSON Value: 1 Type: Number is not of expected type: bool"),
        (1, S, "JSON Value: 1 Type: Number is not of expected type: string"),
        (BAD_BINARY, S, "Unable to base64 decode"),
        ([1, [2]], F, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], 2], F, "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        ([[1], [2, 3]], F, "Encountered list at unexpected size: 2 at level: 1 expected size: 1"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_tensorflow_servings_words(value, dtype, error) -> None:
    """The first one in the order of the document."""
    assert fast_tensor(value, dtype) is None
    with pytest.raises(InvalidArgument, match=f"^{re.escape(error)}$"):
        tensor(value, dtype)


def test_an_object_that_is_not_base64_is_refused_as_text() -> None:
    """Its picture shows what was sent."""
    with pytest.raises(InvalidArgument, match="not formatted correctly for base64 data"):
        tensor([JsonObject(["b64", "x"], ["aGk=", 1])], S)


def test_a_type_without_json_form_is_not_implemented() -> None:
    """An empty list of it is fine, as there is no value to convert."""
    assert tensor([], DataType.HALF).array("a").dtype == np.float16
    with pytest.raises(Unimplemented, match=r"^Conversion of JSON Value: 1 to type: half$"):
        tensor([1], DataType.HALF)


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([[1], [2, 3]], "Expecting tensor size: 1 but got: 2"),
        ([[1, 2], [[1], [2]]], "Expecting shape [2] but got: [2,1]"),
        ([[1], 2], "Expecting shape [1] but got: []"),
    ],
)
def test_all_rows_of_a_column_have_the_shape_of_the_first(rows, error) -> None:
    """Their sizes are compared first."""
    column = Column(F)
    column.add(rows[0])
    with pytest.raises(ServingError, match=f"^{re.escape(error)}$"):
        column.add(rows[1])


def test_a_column_stacks_its_rows_along_a_new_dimension() -> None:
    """Scalars give a vector."""
    column = Column(F)
    for value in (1, 2, 3):
        column.add(value)

    assert (column.dense().shape, column.dense().values.tolist()) == ((3,), [1, 2, 3])


def test_a_rank_beyond_numpys_is_refused_only_when_an_array_is_needed() -> None:
    """Shapes themselves may have any length."""
    deep: object = 1.0
    for _ in range(LARGEST_RANK + 1):
        deep = [deep]

    dense = tensor(deep, F)

    assert len(dense.shape) == LARGEST_RANK + 1
    with pytest.raises(InvalidArgument, match=r"^tensor parsing error: a$"):
        dense.array("a")


@pytest.mark.parametrize(
    ("value", "shape"), [(1, ()), ([], (0,)), ([[1, 2], [3]], (2, 2)), ([[], [1]], (2, 0)), ([BINARY], (1,))]
)
def test_the_first_elements_suggest_the_shape(value, shape) -> None:
    """An object is an element, never a level."""
    assert first_shape(value) == shape


def test_scalars_of_one_row_each_may_be_mixed_numbers() -> None:
    """Integers among floats are floats; truth values never are."""
    assert fast_values([1, 2.5], F).tolist() == [1.0, 2.5]
    assert fast_values([1, True], F) is None
    assert fast_values([BAD_BINARY], S) is None


def test_doubles_become_floats_as_c_casts_them() -> None:
    """Without a warning."""
    assert to_float32(np.array([1e300, -1e300, 1e-300])).tolist() == [np.inf, -np.inf, 0.0]
