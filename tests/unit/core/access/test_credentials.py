"""Tokens in headers: one, in one of two forms, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.access.credentials import LONGEST_TOKEN_BYTES, is_forwarded, presented_token
from core.errors import Unauthenticated


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer secret"),
        (b"authorization", b"bearer secret"),
        (b"authorization", b"BEARER   secret"),
        (b"authorization", b" Bearer secret\t"),
        (b"x-api-key", b"secret"),
    ],
)
def test_both_headers_carry_a_token(header: tuple[bytes, bytes]) -> None:
    """The scheme is written in any case (RFC 9110, 11.1)."""
    assert presented_token([(b"host", b"x"), header]) == b"secret"


def test_a_request_without_a_token_has_none() -> None:
    """Anyone may call what the file opens to anyone."""
    assert presented_token([(b"cookie", b"authorization=Bearer x")]) is None


@pytest.mark.parametrize(
    "fields",
    [
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")],
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"a")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"b")],
        [(b"authorization", b"Bearer a, Bearer b")],
        [(b"authorization", b"Basic dXNlcjpwYXNz")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearera")],
        [(b"authorization", b"Bearer a b")],
        [(b"authorization", b"")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"a b")],
        [(b"x-api-key", b"\xff\xfe")],
        [(b"authorization", b"Bearer \xc3\xa4")],
        [(b"authorization", b"Bearer a\x00b")],
        [(b"x-api-key", b"a" * (LONGEST_TOKEN_BYTES + 1))],
        [(b"authorization", b"Bearer " + b"a" * (LONGEST_TOKEN_BYTES + 1))],
    ],
)
def test_what_is_not_one_token_is_refused(fields: list[tuple[bytes, bytes]]) -> None:
    """A proxy that checked one of two may have checked the other one."""
    with pytest.raises(Unauthenticated):
        presented_token(fields)


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"x"]), st.binary(max_size=40)), max_size=4))
def test_any_headers_give_a_token_or_an_error_that_does_not_repeat_them(fields: list[tuple[bytes, bytes]]) -> None:
    """Error texts reach logs."""
    text, token = "", None
    try:
        token = presented_token(fields)
    except Unauthenticated as error:
        text = str(error)

    assert not any(value.decode("latin-1") in text for _, value in fields if len(value) > 8)
    assert token is None or any(value.strip(b" \t").endswith(token) for _, value in fields)


def test_a_header_of_a_proxy_or_a_browser_shows_that_the_peer_only_carries() -> None:
    """So it takes rights away, and never gives any."""
    assert is_forwarded([(b"x-forwarded-for", b"127.0.0.1")])
    assert is_forwarded([(b"x-forwarded-user", b"a")])
    assert is_forwarded([(b"x-forwarded-prefix", b"/a")])
    assert is_forwarded([(b"origin", b"http://evil.example")])
    assert not is_forwarded([(b"host", b"x")])
