"""Tests of when windows are handed out, and of what people see of the counts."""

from __future__ import annotations

from core.delivery.arm_counts import ArmCounts, Tally
from core.delivery.plan import Analysis
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import ArmKey, Division
from core.routing.router_report import RouterReport
from deployments.delivery.step_windows import RECENT_S, SAMPLED_EVERY_S, StepWindows
from tests.support.delivery_sites import PLAN

INTERVAL_S = PLAN.analysis.interval_s


def record(epoch: int = 3, canary: int = 8) -> RolloutRecord:
    division = Division(((7, 9_000), (8, 1_000)), epoch)
    return RolloutRecord(stable=7, canary=canary, plan=PLAN, division=division, epoch=epoch)


def report(requests: int, epoch: int = 3) -> RouterReport:
    tally = Tally(requests)
    return RouterReport("a", 1, arms={ArmKey("m", epoch, 8): ArmCounts(tally, tally)})


def test_a_window_is_over_after_each_interval() -> None:
    """It says how long it lasted."""
    windows = StepWindows()
    assert windows.due("m", record(), 3, 0.0) is None
    windows.take(report(10))
    assert windows.due("m", record(), 3, INTERVAL_S - 1.0) is None

    window = windows.due("m", record(), 3, INTERVAL_S + 0.5)

    assert window is not None
    assert (window.canary.requests, window.lasted_s) == (10, INTERVAL_S + 0.5)
    assert windows.due("m", record(), 3, INTERVAL_S + 1.0) is None


def test_no_window_begins_before_every_router_has_the_division() -> None:
    """Until then some requests are divided otherwise."""
    windows = StepWindows()

    assert windows.due("m", record(4), 3, 0.0) is None
    assert windows.due("m", record(4), 3, INTERVAL_S) is None
    assert windows.due("m", record(4), 4, INTERVAL_S) is None

    assert windows.due("m", record(4), 4, 2 * INTERVAL_S) is not None


def test_a_new_division_begins_a_new_window() -> None:
    """What was counted under the old one is not in it."""
    windows = StepWindows()
    windows.due("m", record(), 3, 0.0)
    windows.take(report(10))

    assert windows.due("m", record(4), 4, INTERVAL_S) is None
    windows.take(RouterReport("a", 2, arms={**report(12).arms, **report(5, 4).arms}))
    window = windows.due("m", record(4), 4, 2 * INTERVAL_S)

    assert window is not None
    assert window.canary.requests == 5


def test_shares_that_are_fixed_are_shown_and_not_judged() -> None:
    """There is no canary."""
    windows = StepWindows()
    windows.due("m", record(canary=0), 3, 0.0)
    windows.take(report(10))

    assert windows.due("m", record(canary=0), 3, 10 * Analysis().interval_s) is None

    assert windows.divided(0.0)["m"].arms[8].requests == 10


def test_people_see_the_last_seconds_and_everything() -> None:
    """Rates are of a minute at most."""
    windows = StepWindows()
    windows.due("m", record(), 3, 0.0)
    for number in range(1, 21):
        windows.take(report(100 * number))
        windows.due("m", record(), 3, number * SAMPLED_EVERY_S)

    shown = windows.divided(20 * SAMPLED_EVERY_S)["m"]

    assert shown.arms[8].requests == 2_000
    assert shown.recent_s == RECENT_S
    assert shown.recent[8].requests == RECENT_S / SAMPLED_EVERY_S * 100


def test_a_model_that_is_not_divided_any_more_is_not_shown() -> None:
    """Nor kept."""
    windows = StepWindows()
    windows.due("m", record(), 3, 0.0)
    windows.due("m", record(), 3, 0.0)

    windows.due("m", RolloutRecord(stable=7), 3, 1.0)

    assert windows.divided(1.0) == {}
