"""Bodies that come in pieces: put together once, and claimed only when a part of them has come."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.routing import incoming_body
from core.routing.incoming_body import CLAIM_FACTOR, IncomingBody

MIB = 2**20
PIECE = bytes(range(256)) * 256


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(0, 500))
def test_pieces_come_out_as_they_came_in(pieces, expected) -> None:
    """Whatever length was announced: the true one, a shorter or a longer one."""
    body = IncomingBody(expected)
    for piece in pieces:
        body += piece

    assert len(body) == sum(map(len, pieces))
    assert body.whole() == b"".join(pieces)


def filled(size: int, expected: int) -> IncomingBody:
    body = IncomingBody(expected)
    for _ in range(size // len(PIECE)):
        body += PIECE
    return body


@pytest.mark.parametrize("expected", [8 * MIB, 8 * MIB + 4])
def test_a_large_body_is_never_there_twice(expected) -> None:
    """A join at the end would take its size once more."""
    tracemalloc.start()
    try:
        whole = filled(8 * MIB, expected).whole()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(whole) == 8 * MIB
    # The part that came before the claim, and no more.
    assert peak < 8 * MIB * (1 + 1 / CLAIM_FACTOR) + MIB


def test_announcing_a_large_body_claims_nothing() -> None:
    """A client that sends a little of it claims a small multiple of that."""
    tracemalloc.start()
    try:
        bodies = [IncomingBody(64 * MIB) for _ in range(10)]
        assert tracemalloc.get_traced_memory()[1] < MIB
        for at in range(len(bodies)):
            bodies[at] += PIECE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2 * len(bodies) * len(PIECE)


def test_a_body_that_would_take_long_to_claim_grows(monkeypatch) -> None:
    """Writing zeros into gigabytes would keep all other requests waiting."""
    monkeypatch.setattr(incoming_body, "LARGEST_CLAIM_BYTES", MIB)

    body = filled(2 * MIB, 4 * MIB)

    assert body._view is None
    assert len(body.whole()) == 2 * MIB


def test_what_is_put_behind_a_body_can_be_taken_back() -> None:
    """A call that cannot be sent the short way goes on without it."""
    body = filled(MIB, MIB + 4)
    whole = body.whole()

    whole += b"tail"

    assert body.whole() == PIECE * (MIB // len(PIECE))
    assert body.whole() is whole


def test_a_tail_with_room_for_it_moves_nothing() -> None:
    """The memory was claimed with it."""
    whole = filled(MIB, MIB + 4).whole()
    tracemalloc.start()
    try:
        whole += b"tail"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < len(PIECE)
    assert list(itertools.islice(reversed(whole), 4)) == list(reversed(b"tail"))
