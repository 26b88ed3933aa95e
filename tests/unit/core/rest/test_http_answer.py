"""Tests of the HTTP answers that do not depend on a model."""

from __future__ import annotations

import gzip
import json

import pytest

from core.errors import Code
from core.rest.http_answer import answer_of, error_answer, error_body, html_error, preflight, unzipped
from core.routing.transport import Answer


def test_an_answer_is_its_body() -> None:
    """What the model server wrote goes out as it is, as JSON."""
    answer = answer_of(Answer(Code.OK, bytearray(b'{"predictions": [1]}')))

    assert (answer.status, answer.body, answer.headers) == (
        200,
        b'{"predictions": [1]}',
        ((b"content-type", b"application/json"),),
    )


def test_case_A34_errors_are_json_with_one_header() -> None:
    """Four spaces, no newline at the end, only a content type."""
    answer = error_answer(Code.NOT_FOUND, 'Could not find "x"')

    assert (answer.status, answer.headers) == (404, ((b"content-type", b"application/json"),))
    assert answer.body == b'{\n    "error": "Could not find \\"x\\""\n}'


def test_an_error_of_a_model_server_keeps_its_text() -> None:
    """The text comes as bytes, which need not be UTF-8."""
    answer = answer_of(Answer(Code.DEADLINE_EXCEEDED, b"Timed out \xff"))

    assert answer.status == 504
    assert json.loads(bytes(answer.body).decode("utf-8", "replace")) == {"error": "Timed out \N{REPLACEMENT CHARACTER}"}


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (501, "Not Implemented"), (400, "Bad Request")])
def test_case_Q1_pages_of_the_http_layer_are_html(status, reason) -> None:
    """An unknown path gets a page, and the connection is closed."""
    answer = html_error(status)

    assert answer.status == status
    assert answer.headers == ((b"content-type", b"text/html"), (b"connection", b"close"))
    assert answer.body.decode() == (
        f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n<H1>{reason}</H1>\n</BODY></HTML>\n"
    )


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param(b"https://a.b", 200, id="case_A31"),
        (b"http://a.b", 200),
        (b"", 400),
        (b"null", 400),
        (b"file://a", 400),
    ],
)
def test_a_preflight_needs_an_origin(origin, status) -> None:
    """Its body is empty either way."""
    answer = preflight(origin)

    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (gzip.compress(b"{}", mtime=0), b"{}"),
        (bytearray(gzip.compress(b"{}", mtime=0)), b"{}"),
        pytest.param(gzip.compress(b"x" * 2**20, mtime=0), b"x" * 2**20, id="case_Q5"),
        (b"not gzip", b""),
        (b"", b""),
        (gzip.compress(b"cut short", mtime=0)[:-3], b""),
        (gzip.compress(b"damaged", mtime=0)[:-8] + b"\0" * 8, b""),
    ],
)
def test_gzip_bodies_are_unpacked_or_count_as_empty(body, expected) -> None:
    """Whatever is wrong with them, the parser then says that the document is empty."""
    assert unzipped(body) == expected


def test_a_small_body_cannot_claim_all_memory() -> None:
    """More than 100 MiB unpacked counts as empty."""
    assert unzipped(gzip.compress(bytes(101 * 2**20), 1)) == b""


def test_case_C21_success_has_no_error_body() -> None:
    """What the model answered is passed on."""
    assert answer_of(Answer(Code.OK, b"")).body == b""


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
