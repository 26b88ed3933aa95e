"""Tests of rollouts in the ticks of the watcher: what is loaded, what the routers' table says, and what survives."""

from __future__ import annotations

from core.delivery.rollout_record import RolloutPhase
from tests.support.delivery_sites import DeliverySite


def test_a_canary_that_is_like_stable_gets_all_requests_step_by_step() -> None:
    """Both stay loaded on the way, and the old version until the way back is closed."""
    site = DeliverySite()
    site.begin()
    assert site.weights == {7: 9_000, 8: 1_000}
    assert site.loaded == {7, 8}

    site.pass_time(90.0)
    assert site.weights == {7: 5_000, 8: 5_000}
    site.reach(RolloutPhase.PROMOTED)
    site.pass_time(2.0)
    assert site.weights == {8: 10_000}
    assert site.loaded == {7, 8}

    site.reach(RolloutPhase.IDLE, 700.0)
    site.pass_time(5.0)
    assert site.record.stable == 8
    assert site.loaded == {8}


def test_a_canary_with_errors_is_rolled_back_and_not_tried_again() -> None:
    """It is unloaded, although its number is the highest, and stable answers all requests."""
    site = DeliverySite()
    site.error_rates = {8: 0.5}
    site.begin()

    site.reach(RolloutPhase.IDLE)
    site.pass_time(5.0)

    assert site.weights == {7: 10_000}
    assert site.loaded == {7}
    assert "server_errors" in site.record.rejected[8].reason
    deployed = list(site.host.deployed)
    site.pass_time(60.0)
    assert site.host.deployed == deployed
