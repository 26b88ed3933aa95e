"""Tokens and their clients: quick hashes at once, slow ones once they were verified, and ends."""

from __future__ import annotations

import pytest

from core.access import token_book
from core.access.access_file import read_access_rules
from core.access.token_book import EXPIRED, NOT_VALID, TokenBook
from tests.support.doors.guarded_sites import client_of, hash_of

SLOW = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzYWx0$c29tZWhhc2hzb21laGFzaA"


def book(text: str) -> TokenBook:
    return TokenBook(read_access_rules(text), b"k" * 32)


def test_a_token_finds_its_client() -> None:
    """And another one finds none."""
    made = book("clients:\n" + client_of("a", "infer") + client_of("b", "admin"))

    assert made.find(b"a-token", 0.0).client.name == "a"
    assert made.find(b"b-token", 0.0).client.name == "b"
    assert made.find(b"c-token", 0.0).problem == NOT_VALID
    assert made.find(hash_of("a-token").removeprefix("sha256:").encode(), 0.0).problem == NOT_VALID


def test_several_tokens_of_a_client_count_until_their_end() -> None:
    """So the old one and the new one count while clients change over."""
    made = book(
        f'clients: {{a: {{tokens: [{{hash: "{hash_of("old")}", expires: 2027-01-31T00:00:00+01:00}}, '
        f'"{hash_of("new")}"], allow: [{{groups: [infer]}}]}}}}'
    )
    end_s = 1801350000.0

    assert made.find(b"old", end_s - 0.5).client is not None
    assert made.find(b"old", end_s).problem == EXPIRED
    assert made.find(b"new", end_s).client is not None


def test_a_slow_hash_is_tried_once_for_each_token() -> None:
    """The outcome is remembered, whether it fits or not."""
    made = book(f"clients: {{a: {{tokens: ['{SLOW}'], allow: [{{groups: [infer]}}]}}}}")
    (hash_,) = made.find(b"x", 0.0).unverified

    made.note(b"x", hash_)
    made.note(b"y", None)

    assert made.find(b"x", 0.0).client.name == "a"
    assert made.find(b"y", 0.0) == token_book.FoundToken(None, NOT_VALID)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries many tokens fills nobody's memory, and those in use stay known."""
    monkeypatch.setattr(token_book, "MOST_VERIFIED", 3)
    made = book(f"clients: {{a: {{tokens: ['{SLOW}'], allow: [{{groups: [infer]}}]}}}}")
    made.note(b"good", made.find(b"good", 0.0).unverified[0])

    for number in range(10):
        made.note(b"bad%d" % number, None)
        assert made.find(b"good", 0.0).client is not None

    assert len(made._tried) == 3
    assert made.find(b"bad0", 0.0).unverified


def test_tokens_are_not_kept() -> None:
    """A dump of the memory of these tables shows no token and no plain hash of one that was tried."""
    made = book(f"clients: {{a: {{tokens: ['{SLOW}'], allow: [{{groups: [infer]}}]}}}}")
    made.note(b"very-secret", None)

    assert b"very-secret" not in b"".join(made._tried)
