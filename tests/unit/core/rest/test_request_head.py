"""Which heads are refused that a parser lets pass; the port's answers to whole requests are in its conformance tests."""

from __future__ import annotations

import pytest

from core.rest.request_head import head_refusal, is_host, syntax_refusal, with_path

HOST = (b"host", b"x")
KNOWN = frozenset({b"GET"})


@pytest.mark.parametrize(
    ("version", "headers", "status"),
    [
        pytest.param("1.1", [HOST], None, id="usual"),
        pytest.param("1.9", [HOST], None, id="higher minor version"),
        pytest.param("1.0", [], None, id="HTTP/1.0 without host"),
        pytest.param("1.1", [], 400, id="no host"),
        pytest.param("1.0", [HOST, HOST], 400, id="two hosts"),
        pytest.param("2.0", [HOST], 505, id="HTTP/2.0"),
        pytest.param("0.9", [HOST], 400, id="no version"),
        pytest.param("1.1", [HOST, (b"transfer-encoding", b" Chunked ")], None, id="chunked"),
        pytest.param("1.1", [HOST, (b"transfer-encoding", b"br,chunked")], 501, id="other coding"),
        pytest.param("1.1", [HOST, (b"transfer-encoding", b"chunked,br")], 400, id="chunked not last"),
        pytest.param("1.1", [HOST, (b"transfer-encoding", b"chunked,chunked")], 400, id="chunked twice"),
        pytest.param("1.1", [HOST, (b"transfer-encoding", b",chunked")], 400, id="empty coding"),
        pytest.param("1.0", [HOST, (b"transfer-encoding", b"chunked")], 400, id="chunked in HTTP/1.0"),
        pytest.param("1.1", [HOST, (b"expect", b"100-Continue")], None, id="expectation"),
        pytest.param("1.1", [HOST, (b"expect", b"tea")], 417, id="other expectation"),
        pytest.param("1.1", [HOST, (b"expect", b"100-continue"), (b"expect", b"tea")], 417, id="two expectations"),
        pytest.param("1.0", [HOST, (b"expect", b"tea")], None, id="expectation of HTTP/1.0"),
    ],
)
def test_heads_are_refused_by_the_rules_of_http(version: str, headers: list, status: int | None) -> None:
    """Each has the status that its section names."""
    assert head_refusal(b"/", b"POST", version, headers) == status


@pytest.mark.parametrize(
    ("value", "is_one"),
    [
        (b"", True),
        (b"model_server", True),
        (b"a.b:8501", True),
        (b"a:", True),
        (b"[::1]:8501", True),
        (b"[fe80::1%25eth0]", True),
        (b"%2Fvar%2Frun", True),
        (b"a b", False),
        (b"a/b", False),
        (b"a@b", False),
        (b"a:b", False),
        (b"a, b", False),
        (b"http://a", False),
        ("ä".encode(), False),
    ],
)
def test_a_host_is_a_name_or_an_address_and_a_port(value: bytes, is_one: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Whatever else an intermediary might read in it is refused."""
    assert is_host(value) == is_one


@pytest.mark.parametrize(
    ("target", "whole"),
    [
        (b"/a?b", b"/a?b"),
        (b"*", b"*"),
        (b"http://x/a", b"http://x/a"),
        (b"http://x", b"http://x/"),
        (b"HTTP://x:80?a", b"HTTP://x:80/?a"),
        (b"/http://x", b"/http://x"),
    ],
)
def test_a_target_in_absolute_form_has_a_path(target: bytes, whole: bytes) -> None:
    """An empty one is the root."""
    assert with_path(target) == whole


@pytest.mark.parametrize(
    ("piece", "status"),
    [
        (b"FOO /a HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"get / HTTP/1.0\r\n", 501),
        (b"GET /\x80 HTTP/1.1\r\n", 400),
        (b"G(T / HTTP/1.1\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"FOO", 400),
        (b"\x16\x03\x01", 400),
    ],
)
def test_an_unknown_method_is_not_a_mistake_of_syntax(piece: bytes, status: int) -> None:
    """Where the rest of the line is right."""
    assert syntax_refusal(piece, KNOWN) == status
