"""Tests of the headers that a division reads: the same bytes whichever way they came."""

from __future__ import annotations

import pytest

from deployments.division.request_headers import MetadataFields, by_name

WHOLE_HEADER = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)


def test_the_first_of_several_headers_counts() -> None:
    """As an attacker who appends one behind a proxy's must not choose."""
    assert by_name([(b"x-user", b"1"), (b"x-user", b"2"), (b"a", b"b")]) == {b"x-user": b"1", b"a": b"b"}


def test_metadata_has_the_bytes_that_came() -> None:
    """Percent escapes and letter case stay; of Latin-1 texts, which our port makes, each character is a byte."""
    metadata = (("x-user", "A%20b"), ("x-whole", WHOLE_HEADER.decode("latin-1")))

    assert by_name(MetadataFields(lambda: metadata)) == {b"x-user": b"A%20b", b"x-whole": WHOLE_HEADER}


@pytest.mark.parametrize("metadata", [None, (), (("x-user-bin", b"\x00\x01"),)])
def test_what_is_no_text_is_no_key(metadata: tuple | None) -> None:
    """Binary metadata has other bytes over HTTP."""
    assert by_name(MetadataFields(lambda: metadata)) == {}


def test_a_key_that_no_header_can_have_is_read_nevertheless() -> None:
    """Serve's proxy hands over whatever gRPC's library made of it."""
    assert by_name(MetadataFields(lambda: (("x-user", "\u20ac"),))) == {b"x-user": b"?"}


def test_metadata_is_read_when_it_is_asked_for() -> None:
    """A call that is not divided does not pay for it."""
    reads = []
    fields = MetadataFields(lambda: reads.append(1) or ())
    assert reads == []

    by_name(fields)

    assert reads == [1]
