"""Tests of the REST error body."""

from __future__ import annotations

import json

import pytest

from core.errors import Code
from core.rest.http_answer import answer_of, error_body


def test_case_C21_success_has_no_error_body() -> None:
    """What the model answered is passed on."""
    assert answer_of(Code.OK, b"").body == b""


@pytest.mark.parametrize(
    ("message", "escaped"),
    [
        pytest.param('Bad key: "key"', rb"Bad key: \"key\"", id="case_C22"),
        pytest.param("Bad key: 'key'", b"Bad key: 'key'", id="case_C23"),
        pytest.param("line\nbreak\x01", rb"line\nbreak\u0001", id="control characters"),
        pytest.param("raw \udcff", b"raw \xff", id="not UTF-8"),
    ],
)
def test_the_body_is_byte_for_byte_known(message: str, escaped: bytes) -> None:
    """Old clients cut the message out with regular expressions."""
    assert error_body(message) == b'{\n    "error": "' + escaped + b'"\n}'


def test_the_body_is_json() -> None:
    """The message reads back in full, however long."""
    message = 'a\\b"c' * 1000

    assert json.loads(error_body(message)) == {"error": message}
