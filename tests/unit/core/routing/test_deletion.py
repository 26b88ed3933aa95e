"""Tests of which applications may be deleted."""

from __future__ import annotations

import pytest

from core.routing.deletion import deletable
from core.routing.router_report import RouterReport


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
