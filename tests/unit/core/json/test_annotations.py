"""The annotations of the JSON room are what its functions really get and give."""

from __future__ import annotations

import pytest

from core.errors import ServingError
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.json.document import check_signature_name, parse_object, read_predict_body
from tests.support.checked_annotations import annotations_checked, fits
from tests.support.served_models import spec

SIGNATURES = {
    "serving_default": Signature({"x": spec("x:0", DataType.FLOAT)}, {"y": spec("y:0")}),
    "integers": Signature({"x": spec("x:0", DataType.INT64)}, {"y": spec("y:0")}),
    "texts": Signature({"x": spec("x:0", DataType.STRING)}, {"y": spec("y:0")}),
    "several": Signature({"a": spec("a:0", DataType.FLOAT), "b": spec("b:0", DataType.BOOL)}, {"y": spec("y:0")}),
}
VALUES = [
    b'"instances": [1, 2.5]', b'"instances": [[1, 2], [3, 4]]', b'"instances": [[1], [2, 3]]', b'"instances": [[1], []]',
    b'"instances": [{"x": [1, 2]}, {"x": [3, 4]}]', b'"instances": [{"x": 1}, {"x": 2}]', b'"instances": ["a", "b"]',
    b'"instances": [{"b64": "YQ=="}]', b'"instances": [{"x": "a"}, {"x": {"b64": "YQ"}}]', b'"instances": [true, null]',
    b'"instances": [{"a": 1, "b": true}, {"a": 2, "b": false}]', b'"instances": [{"b": true, "a": 1}, {"a": 2, "b": 3}]',
    b'"inputs": [1, 2]', b'"inputs": {"x": [[1, 2]]}', b'"inputs": {"x": 1}', b'"inputs": {"a": [1], "b": [true]}',
    b'"inputs": {"a": [1]}', b'"inputs": "a"', b'"inputs": {"x": ["a\\n", "\\u00e4"]}', b'"inputs": 1e400', b'"inputs": NaN',
    b'"inputs": 123456789012345678901234567890', b'"inputs": [18446744073709551615]', b'"instances": []', b'"a": "\xff"', b'"a',
]  # fmt: skip
BODIES = [b'{"signature_name": "%b", %b}' % (name.encode(), value) for name in SIGNATURES for value in VALUES]
LANES = {
    "one_tensor",
    "named_tensors",
    "named_rows",
    "numbers",
    "_numbers",
    "_exact_request",
    "read_inputs",
    "read_instances",
}


@pytest.mark.parametrize(
    "function", [lambda body: read_predict_body(body, SIGNATURES.get), check_signature_name, parse_object]
)
def test_functions_get_and_give_what_their_annotations_say(function) -> None:
    """Type checkers believe them where values come from simdjson, which they know nothing of."""
    with annotations_checked("core.json") as (called, wrong):
        for body in BODIES:
            try:
                function(body)
            except ServingError:
                continue

    assert wrong == []
    assert len(called) > 10


def test_the_check_sees_all_lanes() -> None:
    """One that is not entered would not be checked."""
    with annotations_checked("core.json") as (called, _):
        for body in BODIES:
            try:
                read_predict_body(body, SIGNATURES.get)
            except ServingError:
                continue

    assert called >= LANES


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (b"a", bytes, True), (memoryview(b"a"), bytes, False), (1, float, True), ("a", float, False), (None, int | None, True),
        ([1, "a"], list[int], False), ((1, 2), tuple[int, ...], True), ((1, "a"), tuple[int, int], False),
        ({"a": 1}, dict[str, int], True), ({1: 1}, dict[str, int], False),
    ],
)  # fmt: skip
def test_types_are_compared_with_values(value, hint, expected: bool) -> None:  # noqa: FBT001
    """A buffer is not bytes."""
    assert fits(value, hint) is expected
