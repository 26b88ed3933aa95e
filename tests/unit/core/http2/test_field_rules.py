"""Which header fields a request may have, and which of them make a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.http2.field_rules import (
    LONGEST_KNOWN_FIELD_BYTES,
    MOST_KNOWN_FIELDS,
    SoundFields,
    content_length,
    is_request,
    is_sound,
)


@given(st.binary(max_size=4).filter(lambda name: name != b"te"))
def test_names_are_visible_ascii_without_capitals_and_colons(name: bytes) -> None:
    """At least one character of it (RFC 9113, 8.2.1)."""
    allowed = all(0x21 <= one <= 0x7E and not 0x41 <= one <= 0x5A and one != 0x3A for one in name)

    assert is_sound(name, b"x") == (bool(name) and allowed)


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\0", b"\r", b"\n", b"\x80", b"\x01"]), max_size=6).map(b"".join))
def test_values_hold_no_line_ends_and_have_no_outer_blanks(value: bytes) -> None:
    """Whatever else they hold (RFC 9113, 8.2.1)."""
    assert is_sound(b"x", value) == (value == value.strip(b" \t") and not set(value) & set(b"\0\r\n"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"te", b"trailers", True), (b"te", b"TRAILERS", True), (b"te", b"", False), (b"te", b"gzip", False),
        (b"upgrade", b"", False), (b"content-length", b"0", True), (b"content-length", b"", False),
        (b"content-length", b"1" * 19, False), (b":path", b"", False), (b":authority", b"", True), (b":status", b"1", False),
    ],
)  # fmt: skip
def test_some_names_allow_few_values(name: bytes, value: bytes, expected: bool) -> None:  # noqa: FBT001
    """Those about the connection none at all (RFC 9113, 8.2.2, 8.3)."""
    assert is_sound(name, value) is expected


def test_a_field_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was found sound costs no more than a look into a set."""
    sound = SoundFields()
    assert sound.include(((b"a", b"b"), (b"c", b"d")))
    monkeypatch.setattr("core.http2.field_rules.is_sound", lambda *_: pytest.fail("judged again"))

    assert sound.include(((b"c", b"d"), (b"a", b"b")))


def test_an_unsound_field_is_judged_again() -> None:
    """Nothing makes it sound, whatever came before."""
    sound = SoundFields()

    assert [sound.include(((b"a", b"b"), (b"A", b"b"))) for _ in range(2)] == [False, False]


def test_few_and_short_fields_are_remembered() -> None:
    """The peer chooses them."""
    sound = SoundFields()
    for number in range(3 * MOST_KNOWN_FIELDS):
        assert sound.include(((b"a", b"%d" % number), (b"b", b"x" * LONGEST_KNOWN_FIELD_BYTES)))
        assert len(sound._known) <= MOST_KNOWN_FIELDS
    assert all(len(value) < LONGEST_KNOWN_FIELD_BYTES for _, value in sound._known)


def request_of(*fields: tuple[bytes, bytes]) -> bool:
    return is_request([name for name, _ in fields], dict(reversed(fields)))


METHOD, SCHEME, PATH = (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((PATH, METHOD, SCHEME), True),
        ((METHOD, SCHEME, PATH, (b"a", b"b")), True),
        ((METHOD, SCHEME, (b"a", b"b"), PATH), False),
        ((METHOD, SCHEME, PATH, PATH), False),
        ((METHOD, SCHEME, PATH, (b"a", b"b"), PATH), False),
        ((METHOD, (b":scheme", b"HTTPS"), (b":path", b"x")), False),
        ((METHOD, (b":scheme", b"other"), (b":path", b"x")), True),
        (((b":method", b"CONNECT"), (b":authority", b"x")), True),
        (((b":method", b"CONNECT"), (b":authority", b"x"), PATH), False),
        ((METHOD, SCHEME, PATH, (b":authority", b"x:80"), (b"host", b"X")), True),
        ((METHOD, SCHEME, PATH, (b":authority", b"x:81"), (b"host", b"x")), False),
        ((METHOD, SCHEME, PATH, (b"host", b"x")), True),
    ],
)
def test_a_request_has_its_pseudo_header_fields_first_and_once(fields, expected: bool) -> None:  # noqa: FBT001
    """And a path and a host that fit the rest (RFC 9113, 8.3)."""
    assert request_of(*fields) is expected


def test_lengths_that_contradict_each_other_are_none() -> None:
    """The same one twice is one (RFC 9110, 8.6)."""
    five, six = (b"content-length", b"5"), (b"content-length", b"6")

    assert [content_length(fields) for fields in ((), (five,), (five, five), (five, six))] == [None, 5, 5, -1]
