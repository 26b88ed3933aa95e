"""A full disk: nothing new is started, what is served goes on, and loads begin by themselves when there is room."""

from __future__ import annotations

import logging

import pytest

from core.errors import Code
from core.versions.lifecycle import State
from core.versions.load_report import LoadFailed
from core.versions.world import AppObservation, Condition
from deployments.versions.disk_watch import DiskWatch
from tests.support.sites import SETTINGS, Site

FULL = "The disk of /tmp/ray is full (less than 1048576 bytes are free), and no process can start: make room there"
RAY_GUESSES = "The actor died. Some common causes include: (1) the process was killed by the OOM killer"


def test_nothing_is_started_on_a_full_disk_and_what_is_served_goes_on() -> None:
    """A process that cannot open its log would end before it could say why."""
    site = Site((1,), running=["m:1"])
    site.tick()
    site.host.disk = FULL
    site.source.write("/m", 2)

    site.settle()

    assert site.host.deployed == []
    assert site.host.running == {"m:1"}
    assert site.state(1) is State.AVAILABLE
    assert site.watch.table.models["m"].histories[2].failure is not None
    assert site.watch.table.models["m"].histories[2].failure.message == FULL


def test_loads_go_on_by_themselves_when_there_is_room() -> None:
    """However long that took: a full disk uses up no attempts."""
    site = Site((1,))
    site.host.disk = FULL
    for _ in range(5 * (SETTINGS.loading.max_num_load_retries + 1)):
        site.tick(SETTINGS.loading.load_retry_interval_s)
    assert site.state(1) is not State.END

    site.host.disk = ""
    site.tick(SETTINGS.loading.load_retry_interval_s)
    site.settle()

    assert site.state(1) is State.AVAILABLE


def test_the_death_of_a_process_on_a_full_disk_has_its_reason() -> None:
    """Ray guesses that memory ran out; an error that the process could report stays."""
    watch = DiskWatch(lambda: FULL)
    told = AppObservation(Condition.FAILED, str(LoadFailed(Code.NOT_FOUND, "no SavedModel")))
    apps = {"m:1": AppObservation(Condition.FAILED, RAY_GUESSES), "m:2": told, "m:3": AppObservation(Condition.RUNNING)}

    seen = watch.look(apps)

    assert FULL in seen["m:1"].message
    assert "OOM" not in seen["m:1"].message
    assert (seen["m:2"], seen["m:3"]) == (told, apps["m:3"])


def test_a_full_disk_is_logged_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """Ticks come every second."""
    says = [FULL, FULL, "", ""]
    watch = DiskWatch(lambda: says.pop(0))

    with caplog.at_level(logging.INFO):
        for _ in range(4):
            watch.look({})

    assert [one.message.split()[0] for one in caplog.records] == ["disk_full", "disk_has_room_again"]
