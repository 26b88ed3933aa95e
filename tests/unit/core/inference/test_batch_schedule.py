"""Which batch runs next: slots, turns, and nothing lost whatever happens."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.errors import Unavailable
from core.inference.batch_plan import BatchKind, QueueKey
from core.inference.batch_queue import Limits, Piece
from core.inference.batch_schedule import BatchSchedule

KIND = BatchKind(((np.dtype(np.float32), ()),), ("y:0",))
A, B, C = (QueueKey((name,), ("y:0",)) for name in "abc")


def schedule(slots: int = 1, *, limit: int = 2, timeout_s: float = 0.0, enqueued: int = 10) -> BatchSchedule[str]:
    """Make a schedule without splitting."""
    return BatchSchedule(Limits(limit, limit, enqueued, timeout_s), slots)


def names(pieces: list[Piece[str]]) -> list[str]:
    """Tell whose pieces they are."""
    return [piece.request for piece in pieces]


def test_without_a_free_slot_batches_go_on_filling_up() -> None:
    """That is what makes them larger under load."""
    plan = schedule(limit=100)
    plan.add("first", 1, A, KIND, 0)
    assert names(plan.take(0)) == ["first"]
    for number in range(5):
        plan.add(f"{number}", 1, A, KIND, 0)
        assert plan.take(0) == []
    assert plan.waiting == 5

    plan.finish()

    assert names(plan.take(0)) == ["0", "1", "2", "3", "4"]
    assert plan.waiting == 0


def test_queues_take_turns() -> None:
    """A busy one does not keep the others waiting."""
    plan = schedule(slots=9, limit=1)
    for name, key in (("a1", A), ("a2", A), ("a3", A), ("b1", B), ("b2", B), ("c1", C)):
        plan.add(name, 1, key, KIND, 0)

    assert [names(plan.take(0))[0] for _ in range(6)] == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_queue_that_is_not_ready_is_passed_over() -> None:
    """Until its time is over."""
    plan = schedule(slots=9, limit=2, timeout_s=1.0)
    plan.add("waits", 1, A, KIND, 0)
    plan.add("full", 2, B, KIND, 0)

    assert (names(plan.take(0)), plan.take(0)) == (["full"], [])
    assert names(plan.take(1.0)) == ["waits"]


def test_it_wakes_when_the_first_batch_is_ready() -> None:
    """Never, while no slot is free or nothing waits."""
    plan = schedule(slots=1, limit=2, timeout_s=1.0)
    assert plan.wakes_at() == math.inf
    plan.add("a", 1, A, KIND, 5.0)
    plan.add("b", 1, B, KIND, 4.0)
    assert plan.wakes_at() == 5.0

    assert names(plan.take(5.0)) == ["b"]
    assert plan.wakes_at() == math.inf
    plan.finish()
    assert plan.wakes_at() == 6.0


def test_each_queue_has_a_bound_of_its_own() -> None:
    """A full one does not refuse the requests of others."""
    plan = schedule(limit=1, enqueued=1)
    plan.add("a1", 1, A, KIND, 0)
    plan.add("b1", 1, B, KIND, 0)

    try:
        plan.add("a2", 1, A, KIND, 0)
    except Unavailable:
        assert plan.waiting == 2
    else:
        raise AssertionError("taken in though the queue was full")


def test_what_leaves_is_no_longer_waiting() -> None:
    """It can leave once; a queue that nobody waits in is forgotten."""
    plan = schedule()
    (piece,) = plan.add("a", 1, A, KIND, 0)
    (other,) = plan.add("b", 1, A, KIND, 0)

    assert plan.withdraw(A, piece)
    assert plan.waiting == 1
    assert not plan.withdraw(A, piece)
    assert plan.withdraw(A, other)
    assert (plan.waiting, plan.take(math.inf)) == (0, [])
    assert not plan.withdraw(A, other)


class AnyOrderOfEvents(RuleBasedStateMachine):
    """Requests arrive, leave, run and finish in any order; a plain list says what must be true."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.limits = Limits(batch=4, request=9, enqueued=3, timeout_s=2.0, splits=True)
        self.plan: BatchSchedule[int] = BatchSchedule(self.limits, slots=2)
        self.waiting: dict[QueueKey, list[Piece[int]]] = {A: [], B: []}
        self.running = 0
        self.arrived = 0

    @rule(key=st.sampled_from([A, B]), rows=st.integers(0, 9))
    def arrive(self, key: QueueKey, rows: int) -> None:
        before = self.plan.waiting
        try:
            pieces = self.plan.add(self.arrived, rows, key, KIND, self.now)
        except Unavailable:
            assert self.plan.waiting == before
            return
        assert sum(piece.rows for piece in pieces) == rows
        self.arrived += 1
        self.waiting[key] += pieces

    @precondition(lambda self: self.plan.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key, pieces in self.waiting.items() if pieces]))
        piece = data.draw(st.sampled_from(self.waiting[key]))
        assert self.plan.withdraw(key, piece)
        self.waiting[key].remove(piece)

    @rule(seconds=st.sampled_from([0.5, 2.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        is_due = self.plan.wakes_at() <= self.now
        pieces = self.plan.take(self.now)
        assert bool(pieces) == is_due
        if not pieces:
            return
        self.running += 1
        key = next(key for key, waiting in self.waiting.items() if pieces[0] in waiting)
        assert self.waiting[key][: len(pieces)] == pieces, "in the order of arrival, nobody left out"
        del self.waiting[key][: len(pieces)]
        assert sum(max(1, piece.rows) for piece in pieces) <= self.limits.batch

    @precondition(lambda self: self.running)
    @rule()
    def finish(self) -> None:
        self.running -= 1
        self.plan.finish()

    @invariant()
    def nothing_is_lost_and_slots_are_kept(self) -> None:
        assert self.plan.waiting == sum(map(len, self.waiting.values()))
        assert self.running <= 2
        assert all(piece.is_waiting for pieces in self.waiting.values() for piece in pieces)

    def teardown(self) -> None:
        for _ in range(self.running):
            self.finish()
        self.now += 1000
        while self.plan.waiting:
            self.take()
            self.finish()


AnyOrderOfEvents.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAnyOrderOfEvents = AnyOrderOfEvents.TestCase
