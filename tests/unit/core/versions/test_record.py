"""Tests of a version's states and of what the world is told."""

from __future__ import annotations

import itertools

import pytest

from core.errors import Code
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import TRANSITIONS, Event, Failure, IllegalTransition, VersionRecord, step
from core.versions.servable import ServableId

RECORD = VersionRecord(ServableId("m", 7), "/models/m/7")


@pytest.mark.parametrize(
    "path",
    [
        [Event.DEPLOYED, Event.BECAME_READY, Event.WITHDRAWN, Event.GONE, Event.ASPIRED_AGAIN],
        [Event.DEPLOYED, Event.WILL_RETRY, Event.DEPLOYED, Event.FAILED, Event.ASPIRED_AGAIN],
        [Event.DEPLOYED, Event.BECAME_READY, Event.LOST, Event.DEPLOYED, Event.LOST, Event.CANCELLED],
        [Event.DEPLOYED, Event.CANCELLED],
    ],
)
def test_lives_of_versions(path) -> None:
    """Each usual life is a walk through the table."""
    state = State.START
    for event in path:
        state = step(state, event)

    assert state in State


@pytest.mark.parametrize(("state", "event"), [one for one in itertools.product(State, Event) if one not in TRANSITIONS])
def test_any_other_event_is_a_defect(state, event) -> None:
    """What has no row cannot happen."""
    with pytest.raises(IllegalTransition, match=f"state {state.name} cannot take the event {event.name}"):
        step(state, event)


def test_every_state_can_be_left() -> None:
    """No version is stuck for ever, not even an ended one."""
    assert {state for state, _ in TRANSITIONS} == set(State)


def test_a_record_knows_since_when_it_is_in_its_state() -> None:
    """The drain time is counted from there."""
    after = RECORD.after(Event.DEPLOYED, 12.0)

    assert (after.state, after.since_s) == (State.LOADING, 12.0)


@pytest.mark.parametrize(
    ("state", "attempts", "failure", "told"),
    [
        (State.START, 0, None, VersionStatus(7, State.START)),
        (State.START, 2, Failure(Code.NOT_FOUND, "x"), VersionStatus(7, State.LOADING)),
        (State.LOADING, 2, Failure(Code.NOT_FOUND, "x"), VersionStatus(7, State.LOADING)),
        (State.AVAILABLE, 0, None, VersionStatus(7, State.AVAILABLE)),
        (State.UNLOADING, 0, None, VersionStatus(7, State.UNLOADING)),
        (State.END, 0, None, VersionStatus(7, State.END)),
        pytest.param(
            State.END,
            6,
            Failure(Code.NOT_FOUND, "x"),
            VersionStatus(7, State.END, Code.NOT_FOUND, "x"),
            id="case_M11",
        ),
    ],
)
def test_what_the_world_is_told(state, attempts, failure, told) -> None:
    """Between attempts a version counts as LOADING; its error shows when it has ended."""
    record = VersionRecord(ServableId("m", 7), "", state, failed_attempts=attempts, failure=failure)

    assert record.status() == told
