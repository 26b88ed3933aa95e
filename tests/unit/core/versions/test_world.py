"""What one tick sees, and how it is asked for it."""

from __future__ import annotations

import pytest

from core.storage.version_listing import UNKNOWN, Judged, VersionDirectory, VersionListing
from core.versions.servable import ServableId
from core.versions.world import World

DIRECTORY = VersionDirectory("/m/1")
KNOWN = Judged(VersionListing({1: DIRECTORY}))
WORLD = World(100.0, (), {"m": KNOWN, "failing": Judged(problem="away")}, wall_s=5000.0)


def test_storage_that_was_not_listed_is_unknown() -> None:
    """A new model, or one whose store has not answered yet."""
    assert WORLD.storage_of("m") is KNOWN
    assert WORLD.storage_of("new") is UNKNOWN


@pytest.mark.parametrize(
    ("servable", "expected"),
    [
        (ServableId("m", 1), DIRECTORY),
        (ServableId("m", 2), None),
        (ServableId("failing", 1), None),
        (ServableId("new", 1), None),
    ],
)
def test_a_version_has_a_directory_where_storage_shows_one(
    servable: ServableId, expected: VersionDirectory | None
) -> None:
    """Otherwise it may still run, but cannot be loaded."""
    assert WORLD.directory_of(servable) == expected


def test_the_moment_of_a_tick_is_known_on_both_clocks() -> None:
    """Records count on the steady clock, tables on the wall clock."""
    assert WORLD.moment.wall_of(90.0) == 4990.0
    assert WORLD.moment.steady_of(4990.0) == 90.0
