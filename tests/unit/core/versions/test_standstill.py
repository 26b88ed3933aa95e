"""A tick is left out only when it would change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.versions.lifecycle import State
from core.versions.reconcile import ENDED_VERSIONS_KEPT_S
from core.versions.record import VersionRecord
from core.versions.servable import ServableId
from core.versions.standstill import LONGEST_S, Seen, Standstill, due_s, moving_apps
from core.versions.world import AppObservation, Condition

NOW_S = 1000.0
SEEN = Seen(("list",), {}, {"m:1": AppObservation(Condition.RUNNING)}, {})


def records(*states: State, **changes: float) -> dict[ServableId, VersionRecord]:
    """Return a record in each of the states, numbered from 1."""
    made = [VersionRecord(ServableId("m", number + 1), "/m", state) for number, state in enumerate(states)]
    return {one.servable: replace(one, **changes) for one in made}


def test_the_same_again_changes_nothing_for_some_time() -> None:
    """After that all is decided anew, in case something was overlooked."""
    still = Standstill(SEEN, due_s(records(State.AVAILABLE, State.LOADING), NOW_S))

    assert still.holds(replace(SEEN, apps=dict(SEEN.apps)), NOW_S + LONGEST_S - 0.1)
    assert not still.holds(SEEN, NOW_S + LONGEST_S)


@pytest.mark.parametrize(
    "change",
    [
        {"in_force": ("another",)},
        {"storage": {"m": None}},
        {"apps": {}},
        {"apps": {"m:1": AppObservation(Condition.DELETING)}},
        {"failing": {"m:1": None}},
    ],
)
def test_anything_else_that_is_seen_is_decided_upon(change: dict[str, object]) -> None:
    """Whatever it is, a rule may depend on it."""
    still = Standstill(SEEN, NOW_S + LONGEST_S)

    assert not still.holds(replace(SEEN, **change), NOW_S)  # type: ignore[arg-type]


def test_a_retry_is_not_put_off() -> None:
    """It is due by the time alone."""
    assert due_s(records(State.START, retry_at_s=NOW_S + 3.0), NOW_S) == NOW_S + 3.0


def test_a_retry_that_was_due_already_waits_for_something_else() -> None:
    """Room, or the end of its former application; both would be seen."""
    assert due_s(records(State.START, retry_at_s=NOW_S - 3.0), NOW_S) == NOW_S + LONGEST_S


def test_an_ended_version_is_forgotten_in_time() -> None:
    """Nothing is seen when its hour is over."""
    since_s = NOW_S - ENDED_VERSIONS_KEPT_S + 2.0

    assert due_s(records(State.END, since_s=since_s), NOW_S) == pytest.approx(NOW_S + 2.0)


def test_an_unload_is_watched_all_the_time() -> None:
    """How long a route may stay and how long a drain may take both count from its beginning."""
    assert due_s(records(State.AVAILABLE, State.UNLOADING), NOW_S) == NOW_S


def test_only_what_moves_is_looked_at_in_every_tick() -> None:
    """Versions that load or end, and every application that does not simply run; one that waits for room has none."""
    known = records(State.START, State.LOADING, State.AVAILABLE, State.UNLOADING, State.END)
    apps = {
        "m:2": AppObservation(Condition.DEPLOYING),
        "m:3": AppObservation(Condition.RUNNING),
        "m:4": AppObservation(Condition.RUNNING),
        "m:5": AppObservation(Condition.DELETING),
        "gone:7": AppObservation(Condition.FAILED),
    }

    assert moving_apps(known, apps) == {"m:2", "m:4", "m:5", "gone:7"}
