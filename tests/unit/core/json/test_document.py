"""The door for requests: the lanes of a body, the order of checks, and what a body may cost."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.errors import InvalidArgument
from core.inference.dtypes import DataType
from core.inference.signature import Signature
from core.json import document
from core.json.document import check_signature_name, parse_object, read_predict_body
from tests.support.served_models import spec

pytestmark = pytest.mark.usefixtures("lists_cut")

X = Signature({"x": spec("x:0", DataType.FLOAT)}, {"y": spec("y:0")})
SIGNATURES = {"serving_default": X, "other": X, "empty": Signature({}, {})}


@pytest.mark.parametrize(
    ("body", "name", "by_row", "inputs"),
    [
        (b'{"instances":[1,2]}', "", True, [1, 2]),
        (b'{"inputs":[1,2],"signature_name":"other"}', "other", False, [1, 2]),
        (b'{"inputs":{"x":3}}', "", False, 3),
        (b'{"instances":[{"x":1},{"x":2}]}', "", True, [1, 2]),
        (b'{"instances":[1,NaN]}', "", True, [1, float("nan")]),
        (b'{"instances":[{"x":1,"x":"y"}]}', "", True, [1]),
        (b'{"signature_name":"\\u006fther","inputs":[[1]]}', "other", False, [[1]]),
    ],
    ids=["fast rows", "fast column", "fast named", "fast named rows", "exact", "repeated", "escaped"],
)
def test_a_body_gives_signature_and_arrays_in_whichever_lane(body, name, by_row, inputs) -> None:
    """The lane is not to be seen in the result."""
    read = read_predict_body(body, SIGNATURES.get)

    assert (read.name, read.signature, read.by_row) == (name, X, by_row)
    assert repr(read.inputs["x"].tolist()) == repr(np.array(inputs, np.float32).tolist())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"[1]", "JSON Value: [1] Is not object"),
        (b'{"signature_name":1}', "not formatted correctly. 'signature_name' key must be a string value."),
        (b'{"signature_name":"nope"}', 'Serving signature name: "nope" not found in signature def'),
        (b'{"signature_name":"empty"}', "Failed to get input map for signature: empty"),
        (b"{}", "Missing 'inputs' or 'instances' key"),
        (b'{"inputs":1,"instances":[1]}', "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"),
        (b'{"instances":1}', "Expecting 'instances' to be an list/array"),
        (b'{"instances":[]}', "No values in 'instances' array"),
    ],
)
def test_a_body_is_checked_in_tensorflow_servings_order(body, error) -> None:
    """JSON, name, signature, form, values: each body here has only its first fault named."""
    with pytest.raises(InvalidArgument, match=re.escape(error)):
        read_predict_body(body, SIGNATURES.get)


@pytest.mark.parametrize("body", [b'{"signature_name":"nope","instances":1}', b"{}", b'{"signature_name":""}'])
def test_before_a_model_is_known_only_the_name_is_judged(body) -> None:
    """All else depends on the model."""
    check_signature_name(body)


@pytest.mark.parametrize("body", [b"{", b'{"signature_name":null}', b"3"])
def test_what_no_model_could_answer_is_refused_at_once(body) -> None:
    """Bad JSON, a name that is not a string, not an object."""
    with pytest.raises(InvalidArgument):
        check_signature_name(body)


def test_valid_and_unusual_texts_give_the_same_values() -> None:
    """The first is read by simdjson, the second by the exact parser."""
    usual, unusual = (parse_object(body) for body in (b'{"a":[1,"b",{}]}', b'{"a":[1,"b",{}]} trailing'))

    assert usual.names == unusual.names == ["a"]
    assert usual.values[0][:2] == unusual.values[0][:2] == [1, "b"]


def test_values_that_need_too_much_memory_are_refused_before_they_are_made(monkeypatch) -> None:
    """An open bracket is one byte in the body and a hundred in memory."""
    monkeypatch.setattr(document, "LARGEST_DOCUMENT_BYTES", 1 << 20)
    with pytest.raises(InvalidArgument, match=r"^The lists, objects and strings of this request need 1 MiB of memory"):
        parse_object(b'{"a":[' + b"[]," * 10_000 + b"[]]}")


def test_the_parser_of_a_large_body_is_thrown_away(monkeypatch) -> None:
    """It would keep the memory of that body."""
    monkeypatch.setattr(document, "_parsers", [])
    monkeypatch.setattr(document, "LARGEST_KEPT_BODY_BYTES", 30)

    read_predict_body(b'{"instances":[1]}', SIGNATURES.get)
    assert len(document._parsers) == 1
    read_predict_body(b'{"instances":[1]}' + b" " * 30, SIGNATURES.get)

    assert document._parsers == []
