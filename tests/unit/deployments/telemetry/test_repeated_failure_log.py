"""Lines of a recurring failure in a log."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from core.config.model_config import ModelResources
from core.errors import Unavailable
from core.telemetry.log_lines import LineFormatter, LineStyle
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog
from tests.support.sites import M, Site


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "deployments")


def test_an_episode_has_a_line_at_its_begin_one_each_minute_and_one_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The lines say how often and for how long; the next episode begins anew."""
    failure = RepeatedFailureLog("tick_failed", "ticks_work_again")
    for second in range(62):
        failure.failed(float(second), Unavailable("no answer"))
    failure.went_well(62.0)
    failure.went_well(70.0)
    failure.went_well(80.0)
    failure.failed(90.0, Unavailable("again"))

    assert [record.getMessage() for record in caplog.records] == [
        "tick_failed times=1 for_s=0 error=no answer",
        "tick_failed times=61 for_s=60 error=no answer",
        "ticks_work_again failures=62 for_s=61",
        "tick_failed times=1 for_s=0 error=again",
    ]


def test_the_lines_are_events_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    """So that tools find what they tell, whatever the error says; long ones are cut."""
    RepeatedFailureLog("tick_failed", "ticks_work_again").failed(0.0, Unavailable('a="b" ' * 1000))

    line = LineFormatter("watcher", LineStyle.TEXT).format(caplog.records[0])
    assert " tick_failed times=1 for_s=0.0 error=" in line
    assert len(line) < 1000


def test_a_table_that_no_router_confirms_for_minutes_is_reported_each_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Not in each of the ticks that try again."""
    patient = replace(M, resources=ModelResources(drain_timeout_s=1000.0))
    site = Site((1, 2), running=["m:1", "m:2"], configs=(patient,))
    site.router.in_flight["m:1"] = 1
    site.tick()
    site.router.answers = False
    for _ in range(70):
        site.tick(1.0)
    site.router.answers = True
    site.tick(6.0)

    lines = [record.getMessage().partition(" ")[0] for record in caplog.records if "table_" in record.getMessage()]
    assert lines == ["table_not_confirmed", "table_not_confirmed", "table_confirmed_again"]
