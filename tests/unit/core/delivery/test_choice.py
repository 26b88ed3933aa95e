"""Tests of the choice of a version: equal everywhere, in proportion, and never two ways for one key."""

from __future__ import annotations

import pytest

from core.delivery.choice import (
    KEY_WINDOW_S,
    MOST_KEYS,
    KeysSeen,
    is_first_attempt,
    key_hash,
    shares_of,
)
from core.delivery.split import WHOLE, Weights

ALL = frozenset({7, 8, 9})
SALT = b"ranking:7f3a"
KEYS = [b"user-%d" % number for number in range(20_000)]


def version_of(key: bytes, weights: Weights, salt: bytes = SALT) -> int:
    """Return the version of a key."""
    return shares_of(weights, ALL, 7).version_at(key_hash(salt, key) % WHOLE)


@pytest.mark.parametrize(
    ("salt", "key", "number", "bucket"),
    [
        (b"", b"", 8676750893070244099, 4099),
        (SALT, b"user-1", 1851551717081364387, 4387),
        (SALT, b"user-2", 8390956837816626309, 6309),
        (b"ranking:0001", b"user-1", 7958821463880634019, 4019),
        (SALT, "Zoë".encode(), 5708216960077548482, 8482),
        (SALT, b"a%20b", 14196512711307184426, 4426),
    ],
)
def test_the_bucket_of_a_key_never_changes(salt: bytes, key: bytes, number: int, bucket: int) -> None:
    """Routers of different releases run side by side, and agree on each key."""
    assert key_hash(salt, key) == number
    assert number % WHOLE == bucket


def test_a_key_is_its_bytes() -> None:
    """Neither letter case nor percent escapes are undone: both protocols would have to do the same."""
    assert len({key_hash(SALT, key) for key in (b"a b", b"a%20b", b"A b", b"a b ")}) == 4


@pytest.mark.parametrize("share", [1, 100, 500, 2_500, 5_000, 9_999])
def test_versions_get_their_shares_of_the_keys(share: int) -> None:
    """Within five standard deviations of many keys."""
    weights = ((7, WHOLE - share), (8, share))
    got = sum(version_of(key, weights) == 8 for key in KEYS)

    wanted = len(KEYS) * share / WHOLE
    assert abs(got - wanted) <= 5 * (wanted * (1 - share / WHOLE)) ** 0.5 + 1


def test_a_key_that_has_a_canary_keeps_it_while_its_share_rises() -> None:
    """A user sees at most one change in a rollout that succeeds."""
    seen: set[bytes] = set()
    for share in (0, 1, 500, 2_500, 2_501, 5_000, 10_000):
        now = {key for key in KEYS if version_of(key, ((7, WHOLE - share), (8, share))) == 8}
        assert seen <= now
        seen = now

    assert seen == set(KEYS)


def test_of_several_versions_the_first_one_shrinks() -> None:
    """The share that one of the others gains comes from the first, and the last one loses no key at all."""
    before = {key: version_of(key, ((7, 9_000), (8, 600), (9, 400))) for key in KEYS}
    after = {key: version_of(key, ((7, 8_000), (8, 1_600), (9, 400))) for key in KEYS}

    assert {(before[key], after[key]) for key in KEYS} == {(7, 7), (7, 8), (8, 8), (9, 9)}


def test_another_rollout_has_other_guinea_pigs() -> None:
    """A tenth of the keys that met one canary meet the next one, as of all keys."""
    weights = ((7, 9_000), (8, 1_000))
    first = {key for key in KEYS if version_of(key, weights) == 8}
    second = {key for key in KEYS if version_of(key, weights, b"ranking:0001") == 8}

    assert 0.05 < len(first & second) / len(first) < 0.15


@pytest.mark.parametrize(("bucket", "version"), [(0, 9), (399.99, 9), (400, 8), (999, 8), (1_000, 7), (9_999.99, 7)])
def test_bounds_belong_to_the_version_above(bucket: float, version: int) -> None:
    """A share of 4 % is 400 buckets, neither 399 nor 401."""
    assert shares_of(((7, 9_000), (8, 600), (9, 400)), ALL, 7).version_at(bucket) == version


def test_a_version_without_a_share_gets_nothing() -> None:
    """Not even the bucket 0."""
    assert {shares_of(((7, WHOLE), (8, 0)), ALL, 7).version_at(bucket) for bucket in range(WHOLE)} == {7}


def test_a_version_with_the_whole_share_gets_everything() -> None:
    """The last step of a rollout, before it is promoted."""
    assert {shares_of(((7, 0), (8, WHOLE)), ALL, 7).version_at(bucket) for bucket in range(WHOLE)} == {8}


def test_the_share_of_a_version_that_does_not_answer_stays_with_the_first() -> None:
    """And the others have no more than their own."""
    shares = shares_of(((7, 5_000), (8, 4_000), (9, 1_000)), {7, 9}, 7)

    assert shares.versions == (9, 7)
    assert shares.bounds == (1_000,)


def test_another_version_stands_for_a_first_one_that_does_not_answer() -> None:
    """Better a version that works than an error."""
    shares = shares_of(((7, 9_000), (8, 1_000)), {8, 6}, 8)

    assert {shares.version_at(bucket) for bucket in range(WHOLE)} == {8}


@pytest.mark.parametrize(
    ("headers", "is_first"),
    [
        ({}, True),
        ({b"grpc-previous-rpc-attempts": b"0"}, True),
        ({b"grpc-previous-rpc-attempts": b"1"}, False),
        ({b"grpc-previous-rpc-attempts": b"2", b"x-envoy-attempt-count": b"1"}, False),
        ({b"x-envoy-attempt-count": b"1"}, True),
        ({b"x-envoy-attempt-count": b"2"}, False),
        ({b"x-envoy-attempt-count": b"0"}, True),
        ({b"x-envoy-attempt-count": b""}, True),
        ({b"x-envoy-attempt-count": b"-3"}, True),
        ({b"x-envoy-attempt-count": b"many"}, True),
        ({b"x-envoy-attempt-count": b"2.0"}, True),
        ({b"grpc-previous-rpc-attempts": "²".encode("latin-1")}, True),
        ({b"grpc-previous-rpc-attempts": b"9" * 5_000}, True),
    ],
)
def test_a_repeated_request_says_so_in_its_headers(headers, is_first) -> None:
    """What is no number says nothing, however long it is."""
    assert is_first_attempt(headers) is is_first


def test_a_key_is_judged_once_in_a_window() -> None:
    """And again in the next one."""
    keys = KeysSeen()

    judged = [keys.is_first(number, now_s) for number, now_s in ((1, 0.0), (1, 1.0), (2, 1.0), (1, KEY_WINDOW_S - 0.1))]

    assert judged == [True, False, True, False]
    assert keys.is_first(1, KEY_WINDOW_S + 1.0)


def test_a_key_whose_request_was_taken_back_is_judged() -> None:
    """Its request comes again in the same turn, in another way."""
    keys = KeysSeen()
    keys.is_first(1, 0.0)
    keys.take_back()

    assert keys.is_first(1, 0.0)


def test_only_the_last_key_is_taken_back() -> None:
    """Nothing where the last request was not judged anyway, and nothing twice."""
    keys = KeysSeen()
    keys.is_first(1, 0.0)
    keys.is_first(2, 0.0)
    keys.is_first(1, 0.0)
    keys.take_back()
    keys.take_back()

    assert not keys.is_first(1, 0.0)
    assert not keys.is_first(2, 0.0)


def test_the_keys_of_a_window_are_bounded() -> None:
    """Clients choose them, and must not fill the memory."""
    keys = KeysSeen()
    assert all(keys.is_first(number, 0.0) for number in range(MOST_KEYS))

    assert not keys.is_first(MOST_KEYS, 0.0)
    assert keys.is_first(MOST_KEYS, KEY_WINDOW_S)
