"""Tests of what is remembered of a version, and of how a new watcher goes on from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import Code
from core.versions.history import Moment, VersionHistory, history_of, recalled
from core.versions.lifecycle import State
from core.versions.record import Failure, VersionRecord
from core.versions.servable import ServableId

WALL = 1_700_000_000.0
NOW = Moment(100.0, WALL + 100.0)
LATER = Moment(130.0, WALL + 131.0)
FAILURE = Failure(Code.NOT_FOUND, "no SavedModel there")
RECORD = VersionRecord(ServableId("m", 1), "/m/1", State.AVAILABLE, since_s=90.0, load_s=4.0, fingerprint="f")
WAITING = replace(RECORD, state=State.START, failed_attempts=1, failure=FAILURE, retry_at_s=160.0, load_s=None)


def test_times_become_those_of_the_wall_clock() -> None:
    """Other processes can read them."""
    assert history_of(RECORD, None, NOW) == VersionHistory(
        State.AVAILABLE, since_s=WALL + 90.0, load_s=4.0, fingerprint="f"
    )


def test_what_was_told_is_told_again_unchanged_while_nothing_happens() -> None:
    """Clocks drift; a table that changed at every tick would be sent to every router at every tick."""
    for record in (RECORD, WAITING):
        before = history_of(record, None, NOW)

        assert history_of(record, before, LATER) == before


def test_another_state_begins_another_stay() -> None:
    """So does another failed attempt, whose next one is due later."""
    before = history_of(WAITING, None, NOW)
    assert before.retry_at_s == WALL + 160.0

    again = history_of(replace(WAITING, failed_attempts=2, since_s=120.0, retry_at_s=180.0), before, LATER)

    assert (again.since_s, again.retry_at_s) == (WALL + 121.0, WALL + 181.0)


def test_only_a_failed_load_is_waited_for() -> None:
    """A version that simply has not begun has no next attempt."""
    assert history_of(replace(RECORD, state=State.START, failed_attempts=0), None, NOW).retry_at_s is None


def found(state: State) -> VersionRecord:
    """Make the record that follows from Serve alone."""
    return VersionRecord(ServableId("m", 1), "/m/1", state, since_s=130.0, fingerprint="g" if state.value > 10 else "")


def recall(state: State, history: VersionHistory | None, *, has_failed: bool = False) -> VersionRecord:
    return recalled(found(state), history, LATER, has_failed=has_failed, longest_retry_s=60.0)


def test_without_memory_serve_alone_counts() -> None:
    """The first watcher of a server has nothing to go on from."""
    assert recall(State.START, None) == found(State.START)


def test_a_running_version_keeps_its_times() -> None:
    """And forgets failures of former attempts."""
    record = recall(State.AVAILABLE, replace(history_of(RECORD, None, NOW), failed_attempts=1))

    assert (record.since_s, record.load_s, record.fingerprint, record.failed_attempts) == (89.0, 4.0, "f", 0)


@pytest.mark.parametrize(
    ("found_state", "has_failed", "remembered", "expected", "attempts"),
    [
        pytest.param(State.LOADING, False, State.LOADING, State.LOADING, 1, id="loads"),
        pytest.param(State.LOADING, False, State.START, State.LOADING, 1, id="submitted_and_not_told"),
        pytest.param(State.START, True, State.LOADING, State.LOADING, 1, id="failed_and_not_counted"),
        pytest.param(State.START, True, State.START, State.START, 1, id="failed_and_counted"),
        pytest.param(State.START, False, State.LOADING, State.START, 1, id="gone_while_it_loaded"),
        pytest.param(State.START, False, State.START, State.START, 1, id="waits_for_its_next_attempt"),
        pytest.param(State.UNLOADING, False, State.START, State.START, 1, id="its_application_is_being_deleted"),
        pytest.param(State.UNLOADING, False, State.UNLOADING, State.UNLOADING, 1, id="unloads"),
        pytest.param(State.START, True, State.END, State.END, 1, id="failed_for_good"),
        pytest.param(State.START, True, State.AVAILABLE, State.START, 1, id="lost"),
        pytest.param(State.AVAILABLE, False, State.LOADING, State.AVAILABLE, 0, id="became_ready_meanwhile"),
        pytest.param(State.LOADING, False, State.AVAILABLE, State.AVAILABLE, 0, id="answers_while_serve_comes_back"),
    ],
)
def test_what_serve_shows_and_what_is_remembered_become_one(
    found_state, has_failed, remembered, expected, attempts
) -> None:
    """A failure is counted once: by the watcher that saw it, or by the next."""
    memory = replace(history_of(WAITING, None, NOW), state=remembered)

    record = recall(found_state, memory, has_failed=has_failed)

    assert (record.state, record.failed_attempts) == (expected, attempts)


@pytest.mark.parametrize(("retry_at_s", "due_s"), [(WALL + 160.0, 159.0), (WALL + 9999.0, 190.0), (WALL, -1.0)])
def test_the_next_attempt_stays_due_but_never_later_than_an_interval(retry_at_s, due_s) -> None:
    """A wall clock that was set back would put it off."""
    record = recall(State.START, replace(history_of(WAITING, None, NOW), retry_at_s=retry_at_s))

    assert record.retry_at_s == due_s
    assert (record.failure, record.fingerprint) == (FAILURE, "f")


def test_a_moment_in_the_future_counts_as_now() -> None:
    """The wall clock was set back since."""
    assert NOW.steady_of(WALL + 9999.0) == NOW.now_s
