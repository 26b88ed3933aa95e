"""A watcher of versions that rest asks Serve for nothing and decides nothing; one that loads asks for that alone."""

from __future__ import annotations

from core.config.model_config import ModelConfig
from core.config.version_policy import All
from core.versions.standstill import LONGEST_S
from tests.support.sites import Site
from tests.unit.deployments.test_hot_path import python_calls

MANY = range(1, 101)


def many() -> Site:
    """Return a watcher of a hundred versions, all of which are served."""
    site = Site(MANY, running=[f"m:{version}" for version in MANY], configs=(ModelConfig("m", "/m", policy=All()),))
    site.settle()
    assert len(site.router.table.apps) == len(MANY)
    return site


def test_a_watcher_at_rest_asks_for_no_application() -> None:
    """Serve tells when one has changed."""
    site = many()

    site.tick(1.0)

    assert site.host.looks[-1] == frozenset()


def test_a_new_watcher_looks_at_all() -> None:
    """It knows of nothing that Serve could have told it."""
    site = many()

    site.restart()
    site.tick()

    assert site.host.looks[-1] is None


def test_only_a_version_that_loads_is_asked_for() -> None:
    """However many others there are."""
    site = many()
    site.source.write("/m", 101)
    site.tick(2.0)

    site.tick(0.1)

    assert site.host.looks[-1] == {"m:101"}


def test_a_tick_at_rest_costs_a_few_calls_for_each_version() -> None:
    """Nothing is decided, and no table is built; with all of that it would be some fifty for each."""
    site = many()
    site.tick(2.0)

    calls = python_calls(lambda: site.tick(0.5))

    assert len(calls) < 8 * len(MANY)


def test_a_tick_beside_a_load_costs_a_few_calls_for_each_version() -> None:
    """Loads are looked at ten times a second."""
    site = many()
    site.source.write("/m", 101)
    site.tick(2.0)
    site.tick(0.1)
    site.tick(0.1)

    calls = python_calls(lambda: site.tick(0.1))

    assert len(calls) < 8 * len(MANY)


def test_all_is_decided_anew_from_time_to_time() -> None:
    """In case something was overlooked."""
    site = many()
    site.tick(2.0)

    calls = python_calls(lambda: site.tick(LONGEST_S))

    assert len(calls) > 20 * len(MANY)
