"""Numbers that follow from routing tables."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from core.errors import Problem
from core.routing.table import ListInForce, ModelRoutes, Route, RoutingTable
from core.routing.table_metrics import Step, gauges, steps
from core.telemetry.metric_names import (
    CONFIG_PROBLEMS,
    HOSTED_VERSIONS,
    PENDING_LABELS,
    SERVER_STATE,
    STORAGE_PROBLEM,
    VERSION_STATE,
)
from core.versions.history import VersionHistory
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId

START, LOADING, AVAILABLE, UNLOADING, END = State


def table(histories: Mapping[int, VersionHistory]) -> RoutingTable:
    """Return a table with one model."""
    return RoutingTable(1, {"m": ModelRoutes(histories=histories, base_path="/models/m")})


def test_gauges_show_the_state_of_every_version_and_what_is_wrong() -> None:
    """One for the state that a version is in; labels that wait, storage and configuration that are broken."""
    served = ModelRoutes(
        routes={2: Route.of(ServableId("m", 2))},
        labels={"stable": 2, "canary": 3},
        statuses=(VersionStatus(3, LOADING), VersionStatus(2, AVAILABLE)),
    )
    broken = ModelRoutes(problem="no such directory")
    gone = ModelRoutes(statuses=(VersionStatus(1, END),), configured=False)
    now = RoutingTable(
        4,
        {"m": served, "broken": broken, "gone": gone},
        settled=True,
        in_force=ListInForce(problems=(Problem("a"), Problem("b"))),
    )

    assert gauges(now) == {
        VERSION_STATE: {("m", "3", "LOADING"): 1, ("m", "2", "AVAILABLE"): 1, ("gone", "1", "END"): 1},
        PENDING_LABELS: {("m",): 1},
        STORAGE_PROBLEM: {("m",): 0, ("broken",): 1},
        SERVER_STATE: {("ready",): 0, ("ready with problems",): 1, ("not ready",): 0},
        CONFIG_PROBLEMS: {(): 2},
        HOSTED_VERSIONS: {},
    }


def test_hosted_versions_are_counted_by_node() -> None:
    """Of a node without any, there is no gauge."""
    routes = {number: Route.of(ServableId("m", number), f"host@n{number % 2}" if number else "") for number in range(4)}

    assert gauges(RoutingTable(1, {"m": ModelRoutes(routes)}))[HOSTED_VERSIONS] == {("n1",): 2, ("n0",): 1}


@pytest.mark.parametrize(("before", "after", "expected"), [
    (None, LOADING, ["load"]),
    (None, AVAILABLE, []),
    (None, END, []),
    (START, LOADING, ["load"]),
    (LOADING, LOADING, []),
    (LOADING, AVAILABLE, ["available"]),
    (AVAILABLE, UNLOADING, ["unload"]),
    (AVAILABLE, START, ["lost"]),
    (UNLOADING, END, ["unloaded"]),
    (LOADING, END, []),
    (LOADING, START, []),
])  # fmt: skip
def test_steps_are_the_states_that_a_version_enters(before, after, expected) -> None:
    """What another watcher did with a version is not counted again."""
    known = {} if before is None else {1: VersionHistory(before)}

    assert list(steps(table(known), table({1: VersionHistory(after)}))) == [
        Step("m", name, "/models/m/1") for name in expected
    ]


def test_a_failed_load_is_a_step_whatever_comes_after_it() -> None:
    """The attempt counts, also when the next one has begun."""
    before, after = VersionHistory(LOADING), VersionHistory(START, failed_attempts=1)

    assert [one.name for one in steps(table({1: before}), table({1: after}))] == ["load_failed"]
    assert [one.name for one in steps(table({1: after}), table({1: VersionHistory(LOADING, failed_attempts=1)}))] == [
        "load"
    ]


def test_a_model_that_is_new_has_no_past() -> None:
    """Its versions count from the first one that loads."""
    assert [one.name for one in steps(RoutingTable(0), table({1: VersionHistory(LOADING)}))] == ["load"]
