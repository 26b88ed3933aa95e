"""What rests is looked at rarely, what moves always, and everything as soon as something has changed."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from core.errors import Unavailable
from core.versions.world import AppObservation, Condition
from deployments.versions.serve_status import REST_LOOK_S, Apps, ObservedApps

RUNNING = AppObservation(Condition.RUNNING, replicas=1)
DEPLOYING = AppObservation(Condition.DEPLOYING)


class Serve:
    """Applications that a test changes; `asked` has every question, None for one about all."""

    def __init__(self, **apps: AppObservation) -> None:
        self.apps = dict(apps)
        self.asked: list[set[str] | None] = []
        self.error: Exception | None = None
        self.observed = ObservedApps(self.of_all, self.of)

    def of_all(self) -> Apps:
        self.asked.append(None)
        if self.error is not None:
            raise self.error
        return dict(self.apps)

    def of(self, apps: Collection[str]) -> Apps:
        self.asked.append(set(apps))
        return {app: one for app, one in self.apps.items() if app in apps}


def test_what_rests_is_not_asked_for_again() -> None:
    """Its last look is the answer, and the very same object."""
    serve = Serve(a=RUNNING, b=RUNNING)

    first = serve.observed.look((), 0.0)

    assert all(serve.observed.look((), now_s) is first for now_s in (1.0, REST_LOOK_S - 0.1))
    assert (first, serve.asked) == ({"a": RUNNING, "b": RUNNING}, [None])


def test_what_rests_is_looked_at_from_time_to_time() -> None:
    """In case a change was not told."""
    serve = Serve(a=RUNNING)
    serve.observed.look((), 0.0)
    serve.apps.clear()

    assert serve.observed.look((), REST_LOOK_S) == {}


def test_only_what_moves_is_asked_for() -> None:
    """A load among hundreds of versions costs what a load alone does."""
    serve = Serve(a=RUNNING, b=DEPLOYING)
    serve.observed.look((), 0.0)

    serve.observed.look({"b"}, 0.1)
    serve.observed.look({"b", "c"}, 0.2)

    assert serve.asked == [None, {"b"}, {"b", "c"}]


def test_a_load_that_ends_is_seen_at_once_and_leads_to_a_look_at_all() -> None:
    """Only that one counts replicas."""
    serve = Serve(a=RUNNING, b=DEPLOYING)
    serve.observed.look((), 0.0)
    serve.apps["b"] = RUNNING

    assert serve.observed.look({"b"}, 0.1)["b"] == RUNNING
    serve.observed.look((), 0.2)

    assert serve.asked == [None, {"b"}, None]


def test_an_application_that_has_ended_is_no_longer_there() -> None:
    """It was among those that move, and is not among the answers."""
    serve = Serve(a=RUNNING, b=AppObservation(Condition.DELETING))
    serve.observed.look((), 0.0)
    del serve.apps["b"]

    assert serve.observed.look({"b"}, 0.1) == {"a": RUNNING}


def test_a_change_is_looked_at_with_the_next_look() -> None:
    """A version that rested may have lost its process, or its application."""
    serve = Serve(a=RUNNING)
    serve.observed.look((), 0.0)
    serve.apps.clear()

    serve.observed.note_change()

    assert serve.observed.look((), 0.1) == {}


def test_a_look_at_all_that_fails_is_made_up_for() -> None:
    """The change that led to it must not be forgotten."""
    serve = Serve(a=RUNNING)
    serve.observed.look((), 0.0)
    serve.observed.note_change()
    serve.error = Unavailable("Serve does not answer")
    with pytest.raises(Unavailable):
        serve.observed.look((), 0.1)
    serve.error = None
    serve.apps.clear()

    assert serve.observed.look((), 0.2) == {}


def test_one_who_names_nothing_gets_a_look_at_all() -> None:
    """The console script asks once, and must not be told what was."""
    serve = Serve(a=RUNNING)
    serve.observed.look(None, 0.0)
    serve.apps.clear()

    assert serve.observed.look(None, 0.1) == {}
