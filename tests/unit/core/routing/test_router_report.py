"""Tests of the reports of routers."""

from __future__ import annotations

import pytest

from core.routing.router_report import RouterReport


@pytest.mark.parametrize(
    ("generation", "watcher", "is_kept"),
    [(4, "new", True), (5, "new", True), (5, "old", False), (6, "new", False), (6, "old", False)],
)
def test_a_router_keeps_its_table_unless_the_new_one_is_higher(generation: int, watcher: str, *, is_kept: bool) -> None:
    """A watcher that starts anew must not reuse a generation for another table."""
    assert RouterReport("r", 5, watcher="old").keeps_its_table(generation, watcher) is is_kept
