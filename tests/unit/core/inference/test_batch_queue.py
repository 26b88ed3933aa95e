"""One queue: when batches close, when they are ready, and what is too much."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model_config import BatchingParameters
from core.errors import InvalidArgument, Unavailable
from core.inference.batch_plan import BatchKind
from core.inference.batch_queue import BatchQueue, Limits, Piece, piece_rows

FLOAT = np.dtype(np.float32)
NARROW, WIDE = (BatchKind(((FLOAT, (width,)),), ("y:0",)) for width in (1, 2))
PADDED = BatchKind(((FLOAT, (2,)),), ("y:0",), is_padded=True)
FULL = "The batch scheduling queue to which this task was submitted is full;"


def queue(limit: int = 4, *, enqueued: int = 10, timeout_s: float = 0.0, request: int | None = None) -> BatchQueue[str]:
    """Make a queue; `request` switches splitting on."""
    return BatchQueue(Limits(limit, request or limit, enqueued, timeout_s, splits=request is not None))


def cuts(pieces: list[Piece[str]]) -> list[tuple[str, int, int]]:
    """Tell of each piece whose rows it has, and which."""
    return [(piece.request, piece.start, piece.rows) for piece in pieces]


def drained(waiting: BatchQueue[str], now: float = math.inf) -> list[list[tuple[str, int, int]]]:
    """Take every batch that is ready."""
    return [cuts(pieces) for pieces in iter(lambda: waiting.take(now), [])]


def test_limits_come_from_the_parameters() -> None:
    """In rows and seconds; a queue without room for anything would be of no use."""
    parameters = BatchingParameters(8, 1500, 0, max_execution_batch_size=4)

    assert Limits.of(parameters) == Limits(batch=8, request=8, enqueued=1, timeout_s=0.0015)
    splitting = BatchingParameters(8, 0, 3, enable_large_batch_splitting=True, max_execution_batch_size=4)
    assert Limits.of(splitting) == Limits(batch=4, request=8, enqueued=3, timeout_s=0.0, splits=True)


def test_requests_fill_a_batch_in_the_order_of_their_arrival() -> None:
    """One that does not fit begins the next batch, and nobody overtakes it."""
    waiting = queue(4)
    for name, rows in (("a", 1), ("b", 2), ("c", 2), ("d", 1)):
        waiting.add(name, rows, NARROW, 0)

    assert len(waiting) == 2
    assert drained(waiting, 0) == [[("a", 0, 1), ("b", 0, 2)], [("c", 0, 2), ("d", 0, 1)]]
    assert len(waiting) == 0


def test_an_open_batch_waits_for_others_as_long_as_it_was_told() -> None:
    """Counted from its first request."""
    waiting = queue(4, timeout_s=2.0)
    waiting.add("a", 1, NARROW, 10.0)
    waiting.add("b", 1, NARROW, 11.5)

    assert waiting.ready_at() == 12.0
    assert waiting.take(11.9) == []
    assert cuts(waiting.take(12.0)) == [("a", 0, 1), ("b", 0, 1)]
    assert waiting.ready_at() == math.inf


@pytest.mark.parametrize("last", [3, 4], ids=["just_full", "does_not_fit"])
def test_a_batch_that_can_take_no_more_is_ready_at_once(last) -> None:
    """Whatever time it had."""
    waiting = queue(4, timeout_s=1000.0)
    waiting.add("a", 1, NARROW, 0)
    waiting.add("b", last, NARROW, 0)

    assert waiting.ready_at() == -math.inf
    assert cuts(waiting.take(0))[0] == ("a", 0, 1)


def test_different_kinds_wait_in_batches_of_their_own() -> None:
    """The oldest one that is ready goes first."""
    waiting = queue(2, timeout_s=1.0)
    waiting.add("a", 1, NARROW, 0.0)
    waiting.add("b", 2, WIDE, 0.5)
    waiting.add("c", 1, NARROW, 0.6)
    waiting.add("d", 1, WIDE, 0.7)

    assert drained(waiting, 0.9) == [[("b", 0, 2)], [("a", 0, 1), ("c", 0, 1)]]
    assert drained(waiting, 1.7) == [[("d", 0, 1)]]


def test_the_oldest_batch_that_is_ready_goes_first_though_it_is_not_full() -> None:
    """Its time is over, and the full one came later."""
    waiting = queue(2, timeout_s=1.0)
    waiting.add("a", 1, NARROW, 0.0)
    waiting.add("b", 2, WIDE, 0.5)

    assert drained(waiting, 1.0) == [[("a", 0, 1)], [("b", 0, 2)]]


def test_case_N3_a_request_larger_than_a_batch() -> None:
    """It is refused, and leaves nothing behind."""
    waiting = queue(3)

    with pytest.raises(InvalidArgument, match=r"^Task size 4 is larger than maximum input batch size 3$"):
        waiting.add("a", 4, NARROW, 0)
    assert len(waiting) == 0


def test_a_queue_without_splitting_takes_so_many_batches_only() -> None:
    """The open one counts, those that run do not; what fits the open one is still taken."""
    waiting = queue(2, enqueued=2)
    waiting.add("a", 2, NARROW, 0)
    waiting.add("b", 1, NARROW, 0)

    with pytest.raises(Unavailable) as raised:
        waiting.add("c", 2, NARROW, 0)
    assert str(raised.value) == f"{FULL} currently 2 batches enqueued and max_enqueued_batches is 2"
    waiting.add("d", 1, NARROW, 0)
    assert drained(waiting)[1] == [("b", 0, 1), ("d", 0, 1)]
    waiting.add("c", 2, NARROW, 0)


def test_batches_of_other_kinds_count_too() -> None:
    """Otherwise clients with ever new shapes could fill the memory."""
    waiting = queue(2, enqueued=1)
    waiting.add("a", 1, NARROW, 0)

    with pytest.raises(Unavailable, match="currently 1 batches enqueued and max_enqueued_batches is 1"):
        waiting.add("b", 1, WIDE, 0)


def test_requests_without_rows_take_room() -> None:
    """So that there cannot be any number of them."""
    waiting = queue(2, enqueued=1)
    waiting.add("a", 0, NARROW, 0)
    waiting.add("b", 0, NARROW, 0)

    with pytest.raises(Unavailable):
        waiting.add("c", 0, NARROW, 0)
    assert drained(waiting) == [[("a", 0, 0), ("b", 0, 0)]]


@pytest.mark.parametrize(
    ("rows", "room", "limit", "expected"),
    [
        pytest.param(10, 0, 4, [4, 4, 2], id="case_N22"),
        pytest.param(10, 3, 4, [3, 4, 3], id="room"),
        pytest.param(8, 0, 4, [4, 4], id="even"),
        pytest.param(3, 3, 4, [3], id="fits"),
        pytest.param(3, 0, 4, [3], id="new_batch"),
        pytest.param(2, 1, 4, [1, 1], id="small_but_no_room"),
        pytest.param(0, 0, 4, [0], id="no_rows"),
    ],
)
def test_a_large_request_is_cut_along_the_batches(rows, room, limit, expected) -> None:
    """The open batch is filled first."""
    assert piece_rows(rows, room, limit) == expected


def test_case_N4_a_request_larger_than_a_batch_with_splitting() -> None:
    """Its pieces lie in batches one after the other."""
    waiting = queue(2, request=5)

    assert cuts(waiting.add("a", 3, NARROW, 0)) == [("a", 0, 2), ("a", 2, 1)]
    waiting.add("b", 2, NARROW, 0)

    assert drained(waiting) == [[("a", 0, 2)], [("a", 2, 1), ("b", 0, 1)], [("b", 1, 1)]]


def test_splitting_has_a_limit_for_requests_too() -> None:
    """The same text as without splitting."""
    with pytest.raises(InvalidArgument, match=r"^Task size 6 is larger than maximum input batch size 5$"):
        queue(2, request=5).add("a", 6, NARROW, 0)


@pytest.mark.parametrize(
    ("before", "rows", "numbers"),
    [
        ([], 9, (9, 8, 1, 0)),
        ([1], 8, (8, 7, 1, 1)),
        ([4], 5, (5, 4, 1, 4)),
        ([5], 4, (4, 3, 2, 1)),
        ([8], 1, (1, 0, 2, 4)),
        ([8], 0, (0, 0, 2, 4)),
    ],
)
def test_a_queue_with_splitting_takes_so_many_rows_only(before, rows, numbers) -> None:
    """What is left is in the text; a request is taken as a whole or not at all."""
    waiting = queue(4, enqueued=2, request=100)
    for number, taken in enumerate(before):
        waiting.add(f"before {number}", taken, NARROW, 0)
    batches = len(waiting)

    with pytest.raises(Unavailable) as raised:
        waiting.add("a", rows, NARROW, 0)

    size, capacity, enqueued, opened = numbers
    assert str(raised.value) == (
        f"{FULL} task size is {size} but scheduling capacity is only {capacity} (num_enqueued_batches={enqueued}, "
        f"max_enqueued_batches=2, open_batch_size={opened}, max_execution_batch_size=4)"
    )
    assert len(waiting) == batches
    if capacity:
        waiting.add("b", capacity, NARROW, 0)


def test_requests_that_grow_with_their_neighbours_are_not_cut() -> None:
    """Pieces of different width would not fit together any more."""
    waiting = queue(4, request=8)
    waiting.add("a", 3, PADDED, 0)

    assert cuts(waiting.add("b", 2, PADDED, 0)) == [("b", 0, 2)]
    assert drained(waiting) == [[("a", 0, 3)], [("b", 0, 2)]]


def test_a_request_that_leaves_gives_its_room_to_others() -> None:
    """It can leave only once, and only while it waits."""
    waiting = queue(3)
    (first,) = waiting.add("a", 2, NARROW, 0)
    (second,) = waiting.add("b", 1, NARROW, 0)
    assert (first.is_waiting, waiting.withdraw(first), waiting.withdraw(first)) == (True, True, False)

    assert drained(waiting) == [[("b", 0, 1)]]
    assert (second.is_waiting, waiting.withdraw(second)) == (False, False)


def test_an_open_batch_regains_room() -> None:
    """The next request joins those that are left."""
    waiting = queue(3, enqueued=1)
    waiting.add("a", 1, NARROW, 0)
    (left,) = waiting.add("b", 1, NARROW, 0)
    waiting.withdraw(left)
    waiting.add("c", 2, NARROW, 0)

    assert drained(waiting) == [[("a", 0, 1), ("c", 0, 2)]]


@pytest.mark.parametrize("rows", [1, 3], ids=["open", "closed"])
def test_a_batch_that_all_have_left_is_gone(rows) -> None:
    """It takes no turn and no place."""
    waiting = queue(3, enqueued=1)
    (only,) = waiting.add("a", rows, NARROW, 0)

    waiting.withdraw(only)

    assert (len(waiting), waiting.ready_at(), waiting.take(math.inf)) == (0, math.inf, [])
    waiting.add("b", 3, NARROW, 0)


ARRIVALS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([NARROW, WIDE, PADDED])), max_size=30)


@given(ARRIVALS, st.integers(1, 5), st.integers(1, 8), st.booleans())
def test_every_row_taken_in_comes_out_once_and_in_order(arrivals, limit, enqueued, splits) -> None:
    """Within the limits, whatever arrives."""
    request = 12 if splits else limit
    waiting = BatchQueue(Limits(limit, request, enqueued, 0.0, splits=splits))
    taken_in: dict[BatchKind, list[tuple[int, int]]] = {NARROW: [], WIDE: [], PADDED: []}
    for number, (rows, kind) in enumerate(arrivals):
        if kind.is_padded and rows > limit:
            continue  # the caller's part: what needs several runs is not of that kind
        try:
            waiting.add(number, rows, kind, number)
        except (InvalidArgument, Unavailable):
            continue
        taken_in[kind] += [(number, row) for row in range(rows)]
        assert len(waiting) <= enqueued

    came_out: dict[BatchKind, list[tuple[int, int]]] = {NARROW: [], WIDE: [], PADDED: []}
    for pieces in iter(lambda: waiting.take(math.inf), []):
        kinds = {piece.batch.kind for piece in pieces}
        assert len(kinds) == 1
        assert sum(max(1, piece.rows) for piece in pieces) <= limit
        for piece in pieces:
            came_out[piece.batch.kind] += [(piece.request, piece.start + row) for row in range(piece.rows)]

    assert came_out == taken_in
