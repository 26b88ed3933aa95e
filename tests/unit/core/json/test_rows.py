"""Row and columnar requests to named tensors: what belongs to which input, and which row is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.errors import ServingError
from core.inference.dtypes import DataType
from core.json.exact_parser import parse_exactly
from core.json.rows import read_inputs, read_instances

F, S = DataType.FLOAT, DataType.STRING
ONE = {"a": F}
TWO = {"a": F, "b": S}


def lists(tensors: dict[str, Any]) -> dict[str, Any]:
    """Show tensors as lists."""
    return {name: dense.array(name).tolist() for name, dense in tensors.items()}


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        (b"[1,2]", ONE, {"a": [1, 2]}),
        (b"[[1],[2]]", ONE, {"a": [[1], [2]]}),
        (b'[{"a":1},{"a":2}]', ONE, {"a": [1, 2]}),
        (b'[{"a":1,"b":"x"},{"b":"y","a":2}]', TWO, {"a": [1, 2], "b": [b"x", b"y"]}),
        (b'[{"a":1,"a":"ignored"}]', ONE, {"a": [1]}),
        (b'[{"b64":"aGk="}]', {"s": S}, {"s": [b"hi"]}),
    ],
    ids=["plain", "nested", "named", "other order", "repeated", "binary"],
)
def test_rows_are_collected_by_input(text, dtypes, expected) -> None:
    """The first of equal names counts."""
    assert lists(read_instances(parse_exactly(text), dtypes)) == expected


@pytest.mark.parametrize(
    ("text", "dtypes", "error"),
    [
        (
            b"[1]",
            TWO,
            (
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            ),
        ),
        (b'[1,{"a":2}]', ONE, "Expecting value/list but got object at item 1 of input list"),
        (b'[{"a":1},2]', ONE, "Expecting object but got list at item 1 of input list"),
        (
            b"[1,[2]]",
            ONE,
            (
                "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
                "Expecting shape [] but got: [1]"
            ),
        ),
        (
            b'[{"a":1},{"c":2}]',
            ONE,
            (
                "Failed to process element: 1 key: c of 'instances' list. Error: INVALID_ARGUMENT: "
                "JSON object: does not have named input: c"
            ),
        ),
        (
            b'[{"a":1}]',
            TWO,
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must be equal to: a,b",
        ),
        (
            b'[{"a":"x"}]',
            ONE,
            (
                "Failed to process element: 0 key: a of 'instances' list. Error: INVALID_ARGUMENT: "
                'JSON Value: "x" Type: String is not of expected type: float'
            ),
        ),
    ],
    ids=["plain for two", "object late", "value late", "other shape", "unknown", "missing", "wrong type"],
)
def test_the_first_row_that_is_wrong_is_named(text, dtypes, error) -> None:
    """With its number, and the input where it was found."""
    with pytest.raises(ServingError, match=f"^{re.escape(error)}$"):
        read_instances(parse_exactly(text), dtypes)


@pytest.mark.parametrize(
    ("text", "dtypes", "expected"),
    [
        (b"5", ONE, {"a": 5}),
        (b"[[1,2]]", ONE, {"a": [[1, 2]]}),
        (b'{"a":[1,2],"b":["x"],"c":0}', TWO, {"a": [1, 2], "b": [b"x"]}),
        (b'{"b64":"aGk="}', {"s": S}, {"s": b"hi"}),
    ],
)
def test_columns_are_whole_tensors(text, dtypes, expected) -> None:
    """Their first dimensions may differ, and members that nobody asks for do not matter."""
    assert lists(read_inputs(parse_exactly(text), dtypes)) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            b"[1]",
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map",
        ),
        (b'{"b":["x"]}', "Missing named input: a in 'inputs' object."),
        (b'{"b":[1],"a":["x"]}', 'JSON Value: "x" Type: String is not of expected type: float'),
    ],
    ids=["plain for two", "missing", "wrong type"],
)
def test_inputs_are_judged_in_the_order_of_their_names(text, error) -> None:
    """Not in that of the document."""
    with pytest.raises(ServingError, match=f"^{re.escape(error)}$"):
        read_inputs(parse_exactly(text), TWO)
