"""Tests of the reports of routers, and of what may be deleted after them."""

from __future__ import annotations

import pytest

from core.routing.router_report import RouterReport, deletable


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([], {"m:1", "m:2"}),
        ([RouterReport("r", 5)], {"m:1", "m:2"}),
        ([RouterReport("r", 4)], set()),
        ([RouterReport("r", 6), RouterReport("s", 4)], set()),
        ([RouterReport("r", 5, {"m:1": 1}), RouterReport("s", 5, {"m:1": 0})], {"m:2"}),
    ],
)
def test_an_application_is_deletable_when_no_router_can_call_it(reports, expected) -> None:
    """Every router has a table without it and no call in flight."""
    assert deletable(["m:1", "m:2"], reports, 5) == expected


@pytest.mark.parametrize(
    ("generation", "watcher", "is_kept"),
    [(4, "new", True), (5, "new", True), (5, "old", False), (6, "new", False), (6, "old", False)],
)
def test_a_router_keeps_its_table_unless_the_new_one_is_higher(generation: int, watcher: str, *, is_kept: bool) -> None:
    """A watcher that starts anew must not reuse a generation for another table."""
    assert RouterReport("r", 5, watcher="old").keeps_its_table(generation, watcher) is is_kept
