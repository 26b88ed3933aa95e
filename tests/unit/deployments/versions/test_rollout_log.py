"""One line for each step of a rollout."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from core.errors import Code
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.history import VersionHistory
from core.versions.lifecycle import State
from core.versions.record import Event, Failure, VersionRecord
from core.versions.servable import ServableId
from deployments.versions.rollout_log import RolloutLog
from tests.support.sites import M, Site

M1 = ServableId("m", 1)
NEW = VersionRecord(M1, "/m/1", since_s=10.0)
LOADING = NEW.after(Event.DEPLOYED, 12.5)
READY = LOADING.after(Event.BECAME_READY, 20.0)


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "deployments")
    return caplog


def test_each_step_is_one_line(written: pytest.LogCaptureFixture) -> None:
    """It names the version, both states, and how long the first one lasted."""
    log = RolloutLog()

    for record in (NEW, NEW, LOADING, LOADING, READY):
        log.follow({M1: record})

    assert written.messages == [
        "version_state model=m version=1 from= to=START took_s=0.000 error=",
        "version_state model=m version=1 from=START to=LOADING took_s=2.500 error=",
        "version_state model=m version=1 from=LOADING to=AVAILABLE took_s=7.500 error=",
    ]


def test_a_new_error_is_a_step(written: pytest.LogCaptureFixture) -> None:
    """An attempt that failed is told although the version goes on trying."""
    log = RolloutLog()
    log.follow({M1: NEW})

    log.follow({M1: VersionRecord(M1, "/m/1", since_s=10.0, failure=Failure(Code.NOT_FOUND, "no such file"))})

    assert written.messages[-1].endswith("from=START to=START took_s=0.000 error=no such file")


def test_a_version_that_comes_back_is_new(written: pytest.LogCaptureFixture) -> None:
    """What is forgotten about a version is not remembered here either."""
    log = RolloutLog()
    log.follow({M1: READY})
    log.follow({})

    log.follow({M1: READY})

    assert len(written.messages) == 2


def test_steps_are_announced_and_audited(written: pytest.LogCaptureFixture) -> None:
    """Whoever looks at the terminal of the server sees them, and later in the audit log."""
    log = RolloutLog()
    log.follow({M1: READY})
    log.follow_labels(table({"stable": 1}, 1))

    assert [(one.rms_announced, one.rms_audited) for one in written.records] == [(True, True)] * 2


def table(labels: dict[str, int], *versions: int) -> RoutingTable:
    routes = {version: Route.of(ServableId("m", version)) for version in versions}
    return RoutingTable(1, {"m": ModelRoutes(routes, labels)})


def test_a_label_that_leads_elsewhere_is_one_line(written: pytest.LogCaptureFixture) -> None:
    """When requests by it do, which is later than its declaration; a label that is removed leads nowhere."""
    log = RolloutLog()

    for one in (table({"a": 1}), table({"a": 1}, 1), table({"a": 1}, 1, 2), table({"a": 2}, 1, 2), table({}, 2)):
        log.follow_labels(one)

    assert written.messages == [
        "label_moved model=m label=a from=None to=1",
        "label_moved model=m label=a from=1 to=2",
        "label_moved model=m label=a from=2 to=None",
    ]


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_watcher_that_starts_again_logs_only_what_has_changed(
    written: pytest.LogCaptureFixture, *, is_broken: bool
) -> None:
    """The audit log has no rollout that did not happen."""
    site = Site((1, 2), configs=(replace(M, labels={"stable": 2, "none": 7}),))
    site.host.broken = lambda _: is_broken
    site.settle()
    assert any("version_state" in one for one in written.messages)
    written.clear()

    site.restart()
    site.tick()

    assert [one for one in written.messages if one.startswith(("version_state", "label_moved"))] == []


def test_what_happened_while_no_watcher_ran_is_logged(written: pytest.LogCaptureFixture) -> None:
    """Against the states that the former one logged, of which the time is not known to this one."""
    log = RolloutLog()
    failure = Failure(Code.NOT_FOUND, "no such file")
    histories = {1: VersionHistory(State.LOADING), 2: VersionHistory(State.START, failure=failure)}
    log.adopt(RoutingTable(1, {"m": ModelRoutes(labels={"a": 1}, histories=histories)}))

    m2 = ServableId("m", 2)
    log.follow({M1: READY, m2: VersionRecord(m2, "/m/2", failure=failure)})
    log.follow_labels(table({"a": 1}, 1))

    assert written.messages == [
        "version_state model=m version=1 from=LOADING to=AVAILABLE took_s=0.000 error=",
        "label_moved model=m label=a from=None to=1",
    ]
