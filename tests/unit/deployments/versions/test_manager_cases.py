"""Cases of TensorFlow Serving's manager, by their number: a watcher that turns its ticks, not single decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.admin.reload_request import is_settled, require_available
from core.config.model_config import ModelConfig
from core.config.version_policy import All, Specific
from core.errors import Code, RuntimeFailure, ServableNotFound
from core.versions.lifecycle import State, VersionStatus
from tests.support.sites import Site

ALL = ModelConfig("m", "/m", policy=All())


def only(version: int) -> ModelConfig:
    return replace(ALL, policy=Specific(frozenset({version})))


def turn(site: Site, ticks: int = 8) -> list[set[int]]:
    """Turn ticks; gives which versions answered after each."""
    answering = []
    for _ in range(ticks):
        site.tick(2.0)
        site.host.progress()
        answering.append(set(site.router.table.models["m"].routes))
    return answering


def test_case_M1_when_nothing_is_aspired_all_versions_are_unloaded() -> None:
    """Afterwards the model is not found."""
    site = Site((0, 1), configs=(ALL,))
    site.settle()
    assert site.host.running == {"m:0", "m:1"}

    site.source.directories["/m"].clear()
    site.settle()

    assert site.host.running == set()
    assert (site.state(0), site.state(1)) == (State.END, State.END)
    with pytest.raises(ServableNotFound):
        site.router.table.resolve("m")


def test_case_M2_one_of_two_versions_leaves() -> None:
    """It is not found any more, and the other answers all the time."""
    site = Site((0, 1), configs=(ALL,))
    site.settle()

    site.model_list.configs = (only(0),)
    answering = turn(site)

    assert all(0 in versions for versions in answering)
    assert (answering[-1], site.host.running) == ({0}, {"m:0"})
    with pytest.raises(ServableNotFound):
        site.router.table.resolve("m", 1)


def test_case_M3_a_lower_version_comes_before_the_higher_one_leaves() -> None:
    """At no time does none answer."""
    site = Site((0, 1))
    site.settle()
    assert site.host.running == {"m:1"}

    site.model_list.configs = (only(0),)
    answering = turn(site)

    assert all(answering)
    assert (answering[-1], site.host.running) == ({0}, {"m:0"})
    assert site.host.deployed == ["m:1", "m:0"]


def test_case_M8_a_version_wanted_again_while_a_request_holds_it() -> None:
    """The old instance ends with the request and not before; then the version is loaded afresh."""
    site = Site((0, 1), configs=(ALL,))
    site.settle()
    site.router.in_flight["m:1"] = 1
    site.model_list.configs = (only(0),)
    while site.state(1) is not State.UNLOADING:
        site.tick(2.0)

    site.model_list.configs = (ALL,)
    turn(site, 4)
    assert (site.host.deleted, site.host.deployed.count("m:1")) == ([], 1)
    assert site.state(1) is State.UNLOADING

    site.router.in_flight.clear()
    turn(site)

    assert (site.host.deleted, site.host.deployed.count("m:1")) == (["m:1"], 2)
    assert site.state(1) is State.AVAILABLE


def test_case_M11_an_error_of_the_source_ends_the_version() -> None:
    """What the store said of its files is the error that everybody sees."""
    site = Site(())
    site.settle()
    site.source.write("/m", 7)
    site.host.finish_deploying = lambda app: site.host.fail(app, Code.DATA_LOSS, "wrong bytes in saved_model.pb")
    for _ in range(6):
        site.tick(70.0)
        site.host.progress()

    assert site.watch.table.statuses("m") == (
        VersionStatus(7, State.END, Code.DATA_LOSS, "wrong bytes in saved_model.pb"),
    )


def test_case_M12_waiting_for_a_model_whose_only_version_failed_ends() -> None:
    """And the failure names the version."""
    site = Site((7,))
    site.host.broken = lambda _: True
    for _ in range(6):
        site.tick(70.0)
        site.host.progress()

    assert is_settled(site.watch.table, {"m"})
    with pytest.raises(RuntimeFailure, match=r"\{name: m version: 7\} due to error: NOT_FOUND"):
        require_available(site.watch.table, {"m"})
