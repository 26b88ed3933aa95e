"""Numbers copied out of simdjson's document: what is certainly right, and what is left to the exact way."""

from __future__ import annotations

import numpy as np
import pytest
import simdjson

from core.inference.dtypes import DataType
from core.json import columns
from core.json.columns import named_rows, named_tensors, one_tensor
from core.json.elements import UnsuitableDocumentError

F, D, N, U, S, B = (
    DataType.FLOAT,
    DataType.DOUBLE,
    DataType.INT32,
    DataType.UINT64,
    DataType.STRING,
    DataType.BOOL,
)
GIVES_UP = UnsuitableDocumentError


def one(body: bytes, dtype: DataType) -> np.ndarray:
    """Read `k` as one tensor."""
    return one_tensor(simdjson.Parser().parse(body), "k", dtype, body)


@pytest.mark.parametrize(
    ("body", "dtype", "expected"),
    [
        (b'{"k": [1, 2.5]}', F, np.array([1, 2.5], np.float32)),
        (b'{"k": [[1], [2]]}', D, np.array([[1.0], [2.0]])),
        (b'{"k": []}', F, np.zeros(0, np.float32)),
        (b'{"k": [[], []]}', N, np.zeros((2, 0), np.int32)),
        (b'{"k": [-2147483648, 2147483647]}', N, np.array([-(2**31), 2**31 - 1], np.int32)),
        (b'{"k": [18446744073709551615]}', U, np.array([2**64 - 1], np.uint64)),
        (b'{"k": [300, -1]}', DataType.UINT8, np.array([44, 255], np.uint8)),
        (b'{"k": [1.7976931348623157e308, -0.0]}', F, np.array([np.inf, -0.0], np.float32)),
        (b'{"k": ["x", ""]}', S, np.array([b"x", b""], object)),
        (b'{"k": [[true], [false]]}', B, np.array([[True], [False]])),
    ],
)
def test_a_regular_list_is_a_tensor_of_its_type(body, dtype, expected) -> None:
    """Values are cast as C casts them."""
    array = one(body, dtype)

    assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
    assert repr(array.tolist()) == repr(expected.tolist())


@pytest.mark.parametrize(
    ("body", "dtype"),
    [
        (b'{"k": [[1], [2, 3]]}', F),
        (b'{"k": [[1], []]}', F),
        (b'{"k": [1, "x"]}', F),
        (b'{"k": [1, true]}', F),
        (b'{"k": [1.5]}', N),
        (b'{"k": [2147483648]}', N),
        (b'{"k": [-1]}', U),
        (b'{"k": [1]}', S),
        (b'{"k": [1]}', B),
        (b'{"k": [1], "more": [2]}', F),
    ],
    ids=[
        "ragged",
        "one missing",
        "text",
        "bool",
        "fraction",
        "too large",
        "negative",
        "no text",
        "no bool",
        "more",
    ],
)
def test_whatever_is_in_doubt_is_left_to_the_exact_way(body, dtype) -> None:
    """It finds the error, or the reason why there is none."""
    with pytest.raises(GIVES_UP):
        one(body, dtype)


def test_an_object_holds_one_tensor_per_input() -> None:
    """Scalars among them; members that nobody asks for do not matter."""
    body = b'{"inputs": {"a": [[1, 2]], "b": 3, "c": "[,"}}'

    arrays = named_tensors(simdjson.Parser().parse(body), "inputs", {"a": F, "b": N}, body)

    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [[1.0, 2.0]], "b": 3}


def test_rows_of_objects_are_stacked_by_input() -> None:
    """In the order in which they were sent."""
    body = b'{"instances": [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": "y"}]}'

    arrays = named_rows(simdjson.Parser().parse(body), "instances", {"b": S, "a": F}, body)

    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [[1, 2], [3, 4]], "b": [b"x", b"y"]}


@pytest.mark.parametrize(
    "rows",
    [
        b'{"a": 1}, {"b": 2}',
        b'{"a": 1, "b": 1}, {"b": 2, "a": 2}',
        b'{"a": 1}, {"a": 2}',
        b'{"a": 1, "b": 1, "c": 1}',
        b'{"a": [1], "b": 1}, {"a": 1, "b": 1}',
        b'{"a": [1], "b": 1}, {"a": [1, 2], "b": 1}',
    ],
    ids=["other members", "other order", "one missing", "one more", "other rank", "other size"],
)
def test_rows_that_differ_are_left_to_the_exact_way(rows) -> None:
    """Members, order and shapes must be those of the first."""
    body = b'{"instances": [%b]}' % rows
    with pytest.raises(GIVES_UP):
        named_rows(simdjson.Parser().parse(body), "instances", {"a": F, "b": F}, body)


def test_very_many_rows_are_left_to_the_way_that_judges_their_memory(monkeypatch) -> None:
    """Each of them is an object of Python."""
    monkeypatch.setattr(columns, "MOST_ROWS", 1)
    body = b'{"instances": [{"a": 1}, {"a": 2}]}'
    with pytest.raises(UnsuitableDocumentError):
        named_rows(simdjson.Parser().parse(body), "instances", {"a": F}, body)
