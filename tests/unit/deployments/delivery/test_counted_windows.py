"""Tests of the windows that are made of the reports of routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from core.delivery.analysis import ArmWindow
from core.delivery.arm_counts import ArmCounts, Tally
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import OutputBins
from core.delivery.split import ArmKey
from core.routing.router_report import RouterReport
from deployments.delivery import counted_windows
from deployments.delivery.counted_windows import CountedWindows, DividedRequests

DIVIDED = DividedRequests("m", 3, 7, 8, "m:7", "m:8")


def counts(requests: int, server_errors: int = 0) -> ArmCounts:
    tally = Tally(requests, server_errors, latency=(requests,))
    return ArmCounts(tally, tally)


def report(
    stable: int,
    canary: int = 0,
    router: str = "a",
    epoch: int = 3,
    mirrors: Mapping[ArmKey, MirrorCounts] | None = None,
) -> RouterReport:
    arms = {ArmKey("m", epoch, 7): counts(stable), ArmKey("m", epoch, 8): counts(canary)}
    return RouterReport(router, 1, arms=arms, mirrors=mirrors or {})


def of_both(windows: CountedWindows) -> tuple[int, int]:
    window = windows.window(DIVIDED, 15.0)
    return window.stable.requests, window.canary.requests


def test_a_window_has_what_was_counted_since_the_last_one() -> None:
    """Reports are cumulated; the share is that which the canary really had."""
    windows = CountedWindows()

    windows.take(report(30, 10))
    assert windows.window(DIVIDED, 15.0) == ArmWindow(
        Tally(30, latency=(30,)), Tally(10, latency=(10,)), 0.25, lasted_s=15.0
    )
    windows.take(report(35, 10))
    windows.take(report(41, 12))

    assert of_both(windows) == (11, 2)
    assert of_both(windows) == (0, 0)


def test_routers_are_added_up() -> None:
    """Each has its own cumulated counts."""
    windows = CountedWindows()

    windows.take(report(30, 10, "a"))
    windows.take(report(50, 5, "b"))

    assert of_both(windows) == (80, 15)


def test_what_a_router_reported_before_it_ended_counts() -> None:
    """Another one under another name begins with nothing."""
    windows = CountedWindows()
    windows.take(report(30, 10, "a"))
    of_both(windows)

    windows.take(report(40, 12, "a"))
    windows.take(report(3, 1, "its successor"))

    assert of_both(windows) == (13, 3)


def test_counts_that_fell_are_of_a_router_that_began_anew() -> None:
    """A difference below zero is nobody's."""
    windows = CountedWindows()
    windows.take(report(30, 10))
    of_both(windows)

    windows.take(report(5, 1))

    assert of_both(windows) == (5, 1)


def test_a_window_has_one_division_only() -> None:
    """What was counted under the weights before belongs to no window any more."""
    windows = CountedWindows()

    windows.take(report(30, 10, epoch=2))
    windows.take(report(4, 1, epoch=3))
    assert of_both(windows) == (4, 1)
    windows.take(report(60, 20, epoch=2))

    assert of_both(windows) == (0, 0)


def test_a_new_watcher_leaves_out_what_its_predecessor_saw() -> None:
    """But not what is counted of divisions that begin later, nor from then on."""
    windows = CountedWindows()
    windows.adopt("m", 3)

    windows.take(report(30, 10))
    assert of_both(windows) == (0, 0)
    windows.take(report(33, 11))
    assert of_both(windows) == (3, 1)
    windows.take(report(5, 2, router="new", epoch=4))

    assert windows.window(DividedRequests("m", 4, 7, 8), 15.0).canary.requests == 2


def test_what_routers_report_before_a_new_watcher_adopts_counts_as_seen() -> None:
    """They pull at once, and the first tick may wait for Serve or for the state folder."""
    windows = CountedWindows()
    windows.take(report(30, 10, mirrors={ArmKey("m", 3, 8): MirrorCounts(identical=10)}))

    windows.adopt("m", 3)
    windows.take(report(33, 11, mirrors={ArmKey("m", 3, 8): MirrorCounts(identical=11)}))

    window = windows.window(DIVIDED, 15.0)
    assert (window.stable.requests, window.canary.requests) == (3, 1)
    assert window.mirror == MirrorCounts(identical=1)


def test_a_report_that_a_later_one_has_overtaken_counts_nothing() -> None:
    """An answer to a broadcast waits for the slowest router; its counts would come twice."""
    windows = CountedWindows()
    late, early = replace(report(30, 10), number=1), replace(report(40, 12), number=2)

    for one in (early, late, replace(report(41, 12), number=3)):
        windows.take(one)

    assert of_both(windows) == (41, 12)


def test_a_router_that_had_nothing_to_report_is_known() -> None:
    """What it counts afterwards was seen by no former watcher."""
    windows = CountedWindows()
    windows.adopt("m", 3)

    windows.take(RouterReport("a", 1))
    windows.take(report(4, 1))

    assert of_both(windows) == (4, 1)


def test_copies_are_of_the_version_that_got_them() -> None:
    """Their counts are differences as well."""
    windows = CountedWindows()
    key = ArmKey("m", 3, 8)

    windows.take(report(30, mirrors={key: MirrorCounts(identical=5, dropped=1)}))
    assert windows.window(DIVIDED, 15.0).mirror == MirrorCounts(identical=5, dropped=1)
    windows.take(report(30, mirrors={key: MirrorCounts(identical=7, structural=1, dropped=1, reason="a differs")}))

    assert windows.window(DIVIDED, 15.0).mirror == MirrorCounts(identical=2, structural=1, reason="a differs")
    assert windows.window(DIVIDED, 15.0).mirror is None


def test_every_router_tells_of_every_replica_and_it_counts_once() -> None:
    """One that tells an older state brings nothing."""
    windows = CountedWindows()

    def told(router: str, **replicas: int) -> RouterReport:
        outputs = {("m:8", name, "y"): OutputBins({"0": count}, (1.5,)) for name, count in replicas.items()}
        return RouterReport(router, 1, outputs=outputs)

    windows.take(told("a", x=5, y=1))
    windows.take(told("a", x=25, y=2))
    windows.take(told("b", x=20, y=4))

    assert windows.window(DIVIDED, 15.0).canary_outputs == {"y": OutputBins({"0": 23}, (1.5, 1.5))}
    windows.take(told("b", x=26, y=4))
    assert windows.window(DIVIDED, 15.0).canary_outputs["y"].counts == {"0": 1}


def test_outputs_of_replicas_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rollout has other replicas; one that is heard of again begins anew."""
    monkeypatch.setattr(counted_windows, "MOST_OUTPUTS", 1)
    windows = CountedWindows()

    def told(replica: str, count: int) -> RouterReport:
        return RouterReport("a", 1, outputs={("m:8", replica, "y"): OutputBins({"0": count})})

    for one in (told("x", 5), told("x", 7), told("y", 1), told("x", 9), told("x", 10)):
        windows.take(one)

    assert windows.window(DIVIDED, 15.0).canary_outputs["y"].counts == {"0": 1}


def test_a_replica_that_counts_anew_is_counted_from_the_beginning() -> None:
    """As for the bins of another rollout: it has counted less then, and a router that has not heard of it says more."""
    windows = CountedWindows()

    def told(count: int, run: int) -> RouterReport:
        return RouterReport("a", 1, outputs={("m:8", "x", "y"): OutputBins({"0": count}, run=run)})

    for one in (told(50, 1), told(3, 2), told(50, 1), told(4, 2)):
        windows.take(one)

    assert windows.window(DIVIDED, 15.0).canary_outputs["y"].counts == {"0": 4}


def test_counts_of_a_model_that_is_not_divided_any_more_are_forgotten() -> None:
    """They would stay for ever."""
    windows = CountedWindows()
    windows.take(report(30, 10))

    windows.forget("m")

    assert of_both(windows) == (0, 0)


def test_people_see_all_that_routers_counted_of_a_division() -> None:
    """Whatever was handed out meanwhile."""
    windows = CountedWindows()
    windows.take(report(30, 10, "a"))
    windows.take(report(1, 2, "b"))
    of_both(windows)

    assert {version: one.shown.requests for version, one in windows.arms("m", 3).items()} == {7: 31, 8: 12}


def test_routers_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those heard of longest ago come first."""
    monkeypatch.setattr(counted_windows, "MOST_ROUTERS", 1)
    windows = CountedWindows()

    windows.take(report(30, 10, "a"))
    windows.take(report(1, 2, "b"))

    assert windows.arms("m", 3)[7].shown.requests == 1
