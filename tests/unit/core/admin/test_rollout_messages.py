"""What the terminal says of a rollout: each change once, in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.admin.rollout_messages import (
    NOTHING,
    displayed_columns,
    loading_message,
    rollout_messages,
    shortened,
    summary,
    unfinished_versions,
)
from core.errors import Code, Problem
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import Failure
from core.versions.servable import ServableId


def table(*statuses: VersionStatus, generation: int = 1, **more: object) -> RoutingTable:
    """Make a table with one model, whose available versions answer."""
    routes = {one.version: Route.of(ServableId("m", one.version)) for one in statuses if one.state is State.AVAILABLE}
    return RoutingTable(generation, {"m": ModelRoutes(routes, statuses=statuses, **more)})


def of(version: int, state: State, message: str = "") -> VersionStatus:
    return VersionStatus(version, state, Code.UNKNOWN if message else Code.OK, message)


RETRIED = VersionHistory(
    State.START, failed_attempts=1, retry_at_s=60.0, failure=Failure(Code.UNAVAILABLE, "no memory")
)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        (State.START, "m version 3 waits to be loaded"),
        (State.LOADING, "m version 3 is loading"),
        (State.AVAILABLE, "m version 3 is available"),
        (State.UNLOADING, "m version 3 is unloading"),
        (State.END, "m version 3 is unloaded"),
    ],
)
def test_each_state_has_its_words(state: State, line: str) -> None:
    """A person need not know the names of the states."""
    assert rollout_messages(NOTHING, table(of(3, state))) == [line]


def test_what_takes_over_is_told_before_what_it_replaces() -> None:
    """One look at the tables may find both changes, and a reader must not think that nothing answered between them."""
    before = table(of(2, State.LOADING), of(1, State.AVAILABLE), labels={"stable": 1})
    now = table(of(2, State.AVAILABLE), of(1, State.END), labels={"stable": 2})

    assert rollout_messages(before, now) == [
        "m version 2 is available",
        "m label stable names version 2",
        "m version 1 is unloaded",
    ]


def test_a_failed_version_is_reported_with_its_error() -> None:
    """It stands out, because somebody has to do something."""
    assert rollout_messages(NOTHING, table(of(3, State.END, "no such file"))) == ["m version 3 FAILED: no such file"]


def test_what_stays_the_same_is_not_repeated() -> None:
    """Only the step of the other version is a message."""
    before = table(of(2, State.LOADING), of(1, State.AVAILABLE))
    after = table(of(2, State.AVAILABLE), of(1, State.AVAILABLE), generation=2)

    assert rollout_messages(before, after) == ["m version 2 is available"]
    assert rollout_messages(after, after) == []


def test_a_version_that_comes_back_is_reported_again() -> None:
    """What was said long ago does not count, only what was before."""
    ended = table(of(1, State.END))

    assert rollout_messages(ended, table(of(1, State.AVAILABLE))) == ["m version 1 is available"]


def test_versions_are_reported_in_their_order() -> None:
    """Statuses are newest first, a story begins with the oldest."""
    assert [
        line.split()[2] for line in rollout_messages(NOTHING, table(of(2, State.LOADING), of(1, State.AVAILABLE)))
    ] == [
        "1",
        "2",
    ]


def test_a_label_is_reported_when_it_answers() -> None:
    """Not before, and again when it names another version."""
    both = (of(2, State.AVAILABLE), of(1, State.AVAILABLE))
    first = table(*both, labels={"stable": 1, "next": 3})
    second = table(*both, labels={"stable": 2, "next": 3})

    assert "m label stable names version 1" in rollout_messages(NOTHING, first)
    assert not [line for line in rollout_messages(NOTHING, first) if "next" in line]
    assert rollout_messages(first, second) == ["m label stable names version 2"]


def test_what_keeps_a_version_or_a_model_from_loading_is_reported() -> None:
    """The reasons are those of the status page."""
    seen = table(waiting={4: "is not completely written"}, problem="no such folder")

    assert rollout_messages(NOTHING, seen) == ["m version 4 is not completely written", "m: no such folder"]


def test_a_refused_configuration_is_reported_once() -> None:
    """With each of its mistakes."""
    bad = RoutingTable(1, in_force=ListInForce(problems=(Problem("unknown field x"),)))

    assert [line.startswith("the configuration is refused: ") for line in rollout_messages(NOTHING, bad)] == [True]
    assert rollout_messages(bad, bad) == []


def test_a_model_that_is_gone_is_reported() -> None:
    """Also while its versions are still unloading."""
    gone = table(of(1, State.UNLOADING), configured=False)

    assert rollout_messages(table(of(1, State.AVAILABLE)), gone)[-1] == "m is no longer configured"


def test_versions_on_their_way_are_named() -> None:
    """Those that wait and those that load."""
    seen = table(of(4, State.START), of(3, State.LOADING), of(2, State.AVAILABLE), of(1, State.END))

    assert unfinished_versions(seen) == ["m:3", "m:4"], "what loads comes first"


def many(count: int) -> RoutingTable:
    """Make a table of as many models that load, beside one that is loaded and two that failed."""
    models = {f"model_{number}": ModelRoutes(statuses=(of(1, State.LOADING),)) for number in range(count)}
    failed = VersionHistory(State.END, failed_attempts=1, failure=Failure(Code.INTERNAL, "broken"))
    models["broken"] = ModelRoutes(statuses=(of(2, State.END, "broken"),), histories={2: failed})
    models["later"] = ModelRoutes(statuses=(of(1, State.START),), histories={1: RETRIED})
    models["done"] = ModelRoutes(statuses=(of(7, State.AVAILABLE), of(6, State.END)))
    return RoutingTable(1, models)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (200, "1 of 6 loaded, 2 failed, loading model_0:1, model_1:1, model_2:1"),
        (64, "1 of 6 loaded, 2 failed, loading model_0:1, model_1:1, model_2:1"),
        (63, "1 of 6 loaded, 2 failed, loading model_0:1 and 2 more"),
        (52, "1 of 6 loaded, 2 failed"),
        (23, "1 of 6 loaded, 2 failed"),
        (10, "1 of 6 lo…"),
        (0, ""),
    ],
)
def test_progress_names_as_many_versions_as_fit(columns: int, line: str) -> None:
    """One line, however many models there are and however narrow the terminal is."""
    assert loading_message(many(3), columns) == line


@given(st.integers(0, 300), st.integers(0, 240))
def test_progress_never_takes_more_than_its_columns(count: int, columns: int) -> None:
    """A longer line would wrap, and could not be written again in place."""
    assert displayed_columns(loading_message(many(count), columns)) <= columns


@given(st.text(), st.integers(0, 30))
def test_a_shortened_text_fits(text: str, columns: int) -> None:
    """Characters of East Asia take two columns, and the sign of what is missing takes one."""
    assert displayed_columns(shortened(text, columns)) <= columns
    assert shortened(text, displayed_columns(text)) == text


def test_a_shortened_text_shows_that_it_goes_on() -> None:
    """Otherwise a part would be read as the whole."""
    assert [shortened("模型 ab", columns) for columns in (7, 6, 4, 1, 0)] == ["模型 ab", "模型 …", "模…", "…", ""]


FAILED_ONCE = (
    "m version 1 could not be loaded: UNAVAILABLE: no memory (attempt 1; next attempt at 1970-01-01T00:01:00.000Z)"
)


def test_each_failed_attempt_is_a_message_with_the_time_of_the_next() -> None:
    """Once each, and no line says in between that the version is still loading."""
    loading = table(of(1, State.LOADING), histories={1: VersionHistory(State.LOADING)})
    first = table(of(1, State.LOADING), histories={1: RETRIED}, generation=2)
    again = replace(RETRIED, state=State.LOADING, retry_at_s=None)
    running = table(of(1, State.LOADING), histories={1: again}, generation=3)
    second = table(of(1, State.LOADING), histories={1: replace(RETRIED, failed_attempts=2)}, generation=4)

    assert rollout_messages(loading, first) == [FAILED_ONCE]
    assert rollout_messages(first, running) == [f"{FAILED_ONCE.partition(' (')[0]}; attempt 2 runs"]
    assert rollout_messages(running, second) == [FAILED_ONCE.replace("attempt 1;", "attempt 2;")]
    assert (unfinished_versions(loading), unfinished_versions(first)) == (["m:1"], [])


def test_the_summary_counts_what_answers_and_what_does_not() -> None:
    """A model without a version is not passed over."""
    assert summary(table(of(2, State.AVAILABLE), of(1, State.AVAILABLE))) == "1 model with 2 versions answers"
    assert summary(table(of(1, State.END, "no"))) == "0 models answer, 1 does not"


def test_a_version_that_answers_with_errors_only_is_reported() -> None:
    """And its recovery, as any other change."""
    failing = table(of(1, State.AVAILABLE, "every run failed so far: device lost"))
    sound = table(of(1, State.AVAILABLE))

    assert rollout_messages(sound, failing) == ["m version 1 is available, but every run failed so far: device lost"]
    assert rollout_messages(failing, sound) == ["m version 1 is available"]
