"""Tests of JSON values to flat arrays; `tests.unit.core.oip.test_json_request` has them in whole requests."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.inference.tensor_proto import bytes_array
from core.json.flat_array import MOST_NESTED, RAGGED, decoded_base64, flat_array
from core.json.long_lists import with_long_lists

FLOAT, INT8, INT64, BOOL = (np.dtype(name) for name in ("float32", "int8", "int64", "bool"))


def both(data: Any, dtype: np.dtype) -> list[Any]:
    """Read values, and a list that is still in simdjson's memory; they are equal bit by bit."""
    flat = flat_array(data, dtype, "T")
    text = json.dumps({"data": data}).encode()
    long = with_long_lists(text, "data", lambda members: flat_array(members["data"], dtype, "T").copy())
    assert long is not None
    assert (long.dtype, long.tobytes()) == (flat.dtype, flat.tobytes())
    return flat.tolist()


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[[1, 2, 3, 4]]]])
def test_nesting_is_only_a_notation(data: list) -> None:
    """The shape stands elsewhere."""
    assert both(data, INT8) == [1, 2, 3, 4]


@pytest.mark.parametrize("data", [7, [7], [[[7]]]])
def test_a_value_is_as_good_as_a_list_of_one(data: object) -> None:
    """For scalars."""
    assert both(data, FLOAT) == [7]


def test_whole_numbers_may_have_a_point() -> None:
    """Also very large ones, as long as a double holds them exactly."""
    assert both([1.0, -2.0, 1e3], INT64) == [1, -2, 1000]
    assert both([2.0**60, 2**53 + 1], INT64) == [2**60, 2**53 + 1]
    assert both([1.0, 0, True], BOOL) == [True, False, True]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4))
def test_integers_are_exact(values: list[int]) -> None:
    """Whatever stands beside them."""
    assert both(values, INT64) == values


@pytest.mark.parametrize(
    ("data", "dtype", "words"),
    [
        ([1, 1.5], INT8, "element 1 is 1.5, which is not a value of T"),
        ([1, 128], INT8, "element 1 is 128, which is not a value of T"),
        ([-129.0], INT8, "element 0 is -129.0, which is not a value of T"),
        ([-(2**63) - 1], INT64, "which is not a value of T"),
        ([2**64], np.dtype(np.uint64), "which is not a value of T"),
        ([True], FLOAT, "element 0 is true, which is not a value of T"),
        (["a" * 100], FLOAT, 'element 0 is "' + "a" * 39 + "…, which is not a value of T"),
        ([2], BOOL, "element 0 is 2, which is not a value of T"),
        ([{}], FLOAT, "element 0 is an object, which is not a value of T"),
        ([[1], 2], FLOAT, RAGGED),
        ([1, [2]], FLOAT, RAGGED),
        ([[1, 2], [3]], FLOAT, RAGGED),
    ],
)
def test_errors_name_the_first_element_that_does_not_fit(data: list, dtype: np.dtype, words: str) -> None:
    """By its place in row-major order, and not in full length."""
    with pytest.raises(InvalidArgument) as caught:
        flat_array(data, dtype, "T")

    assert str(caught.value).endswith(words)


def test_depth_has_a_limit() -> None:
    """Triton's."""
    data: Any = 1
    for _ in range(MOST_NESTED):
        data = [data]

    assert flat_array(data, FLOAT, "T").tolist() == [1]
    with pytest.raises(InvalidArgument, match="nested deeper than 100"):
        flat_array([data], FLOAT, "T")


def test_null_is_not_a_number() -> None:
    """As several clients write it."""
    assert np.isnan(flat_array([None, 1], FLOAT, "T")).tolist() == [True, False]


def test_strings_are_unicode() -> None:
    """The exact parser also reads others."""
    with pytest.raises(InvalidArgument, match=r"^element 1 is .* not a value of T$"):
        flat_array(["a", "\udc80"], np.dtype(object), "T")


def test_base64_is_decoded() -> None:
    """In the standard alphabet."""
    assert decoded_base64(bytes_array([b"AP8=", b""])).tolist() == [b"\0\xff", b""]
    with pytest.raises(InvalidArgument, match="base64"):
        decoded_base64(bytes_array([b"?"]))
