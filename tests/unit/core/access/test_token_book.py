"""Tokens and their clients: quick hashes at once, slow ones once they were verified, and ends."""

from __future__ import annotations

import pytest

from core.access import token_book
from core.access.access_file import read_access_rules
from core.access.token_book import EXPIRED, NOT_VALID, TokenBook
from tests.support.doors.guarded_sites import client_of, hash_of

OTHER = "$argon2id$v=19$m=8,t=1,p=1$b3RoZXJzYWx0b3RoZXI$b3RoZXJoYXNob3RoZXJoYXNo"
SLOW = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzYWx0$c29tZWhhc2hzb21laGFzaA"


def book(text: str) -> TokenBook:
    return TokenBook(read_access_rules(text), b"k" * 32)


def slow_book(*hashes: str, before: TokenBook | None = None) -> TokenBook:
    rules = read_access_rules(f"clients: {{a: {{tokens: {[*hashes]}, allow: [{{groups: [infer]}}]}}}}")
    return TokenBook(rules, b"k" * 32, before)


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
    monkeypatch.setattr(token_book, "MOST_MISSES", 3)
    made = book(f"clients: {{a: {{tokens: ['{SLOW}'], allow: [{{groups: [infer]}}]}}}}")
    made.note(b"good", made.find(b"good", 0.0).unverified[0])

    for number in range(10):
        made.note(b"bad%d" % number, None)
        assert made.find(b"good", 0.0).client is not None

    assert len(made._misses) == 3
    assert made.find(b"bad0", 0.0).unverified


def test_tokens_that_nobody_has_do_not_displace_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a client that was quiet while a flood came."""
    monkeypatch.setattr(token_book, "MOST_MISSES", 3)
    made = slow_book(SLOW)
    made.note(b"good", made.find(b"good", 0.0).unverified[0])

    for number in range(10):
        made.note(b"bad%d" % number, None)

    assert made.find(b"good", 0.0).client is not None


def test_what_was_verified_stays_known_when_the_file_changes() -> None:
    """As far as its hash is still there; a token that fits none is tried against a hash that was added."""
    before = slow_book(SLOW)
    before.note(b"good", before.find(b"good", 0.0).unverified[0])
    before.note(b"bad", None)

    same, more, other = (
        slow_book(SLOW, before=before),
        slow_book(SLOW, OTHER, before=before),
        slow_book(OTHER, before=before),
    )

    assert same.find(b"good", 0.0).client.name == "a"
    assert same.find(b"bad", 0.0) == token_book.FoundToken(None, NOT_VALID)
    assert more.find(b"good", 0.0).client.name == "a"
    assert more.find(b"bad", 0.0).unverified
    assert other.find(b"good", 0.0).unverified


def test_a_hash_that_ends_earlier_in_a_new_file_does_so_for_tokens_that_were_verified() -> None:
    """And one that lives longer is tried again."""
    before = slow_book(SLOW)
    before.note(b"good", before.find(b"good", 0.0).unverified[0])
    text = (
        f'clients: {{a: {{tokens: [{{hash: "{SLOW}", expires: 2027-01-31T00:00:00Z}}], allow: [{{groups: [infer]}}]}}}}'
    )
    after = TokenBook(read_access_rules(text), b"k" * 32, before)

    assert after.find(b"good", 0.0).client is not None
    assert after.find(b"good", 2e9).problem == EXPIRED


def test_tokens_are_not_kept() -> None:
    """A dump of the memory of these tables shows no token and no plain hash of one that was tried."""
    made = book(f"clients: {{a: {{tokens: ['{SLOW}'], allow: [{{groups: [infer]}}]}}}}")
    made.note(b"very-secret", None)

    assert b"very-secret" not in b"".join([*made._misses, *made._fits])
