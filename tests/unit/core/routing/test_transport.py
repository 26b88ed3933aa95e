"""Tests of the values of a call on its way: errors as answers, and addresses."""

from __future__ import annotations

import pytest

from core.errors import Code
from core.routing.transport import LOOPBACK, Answer, Endpoint


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("näin", "näin".encode()),
        pytest.param("raw \udcff", b"raw \xff", id="bytes that are not UTF-8"),
        pytest.param("lone \ud800", b"lone ?", id="a lone surrogate"),
        pytest.param("both \ud800\udcff", b"both ??", id="both"),
    ],
)
def test_an_error_is_an_answer_whatever_its_text(text: str, body: bytes) -> None:
    """A caller without an answer would wait until its deadline."""
    assert Answer.error(Code.INTERNAL, text) == Answer(Code.INTERNAL, body)


@pytest.mark.parametrize(("body", "text"), [(b"late", "late"), (bytearray(b"late"), "late"), (b"\xff!", "\ufffd!")])
def test_the_text_of_an_error_is_text(body: bytes | bytearray, text: str) -> None:
    """Bytes that are not UTF-8 are replaced: not every protocol can send them."""
    assert Answer(Code.INTERNAL, body).text == text


@pytest.mark.parametrize(
    ("has_loopback", "node", "host"),
    [(True, "here", LOOPBACK), (True, "there", "10.0.0.1"), (False, "here", "10.0.0.1")],
)
def test_routers_of_the_same_node_connect_over_loopback(*, has_loopback: bool, node: str, host: str) -> None:
    """Where the replica listens there too."""
    endpoint = Endpoint("10.0.0.1", 1, b"", "r", "here", has_loopback)

    assert endpoint.host_from(node) == host
