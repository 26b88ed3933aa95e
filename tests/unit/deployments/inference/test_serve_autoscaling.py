"""Ray Serve's autoscaling of versions: the settings that Serve gets, and the policy that it asks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.config.model_config import Autoscaling
from deployments.inference.serve_autoscaling import HELD, OPEN_CALLS, autoscaling_config, follow_load

QUESTIONS = 9.0
"""Calls over handles that Serve sees at replicas, although no client made them."""


def context(reported: dict[str, float] | None, waiting: float = 0.0, target: float | None = 2.0) -> SimpleNamespace:
    """Make the part of Serve's context that the policy reads."""
    return SimpleNamespace(
        aggregated_metrics=None if reported is None else {OPEN_CALLS: reported},
        total_num_requests=waiting + QUESTIONS,
        total_queued_requests=waiting,
        target_num_replicas=7,
        config=None if target is None else SimpleNamespace(get_target_ongoing_requests=lambda: target),
    )


@pytest.mark.parametrize(
    ("given", "replicas"),
    [
        (context({"a": 3.0, "b": 1.0}), 2.0),
        (context({"a": 3.0}, waiting=1.0), 2.0),
        (context({}), 0.0),
        (context(None, waiting=4.0), 2.0),
        (context({"a": 100.0}, target=None), 7),
    ],
    ids=["answered", "answered and waiting", "idle", "no report", "no configuration"],
)
def test_replicas_follow_the_calls_that_clients_made(given, replicas) -> None:
    """Serve itself counts what routers ask replicas, and does not see calls of the direct transport."""
    assert follow_load(given) == (replicas, {})


def test_the_settings_of_a_model_are_translated() -> None:
    """What is not set is left to Serve, which finds the policy by its import path."""
    config = autoscaling_config(Autoscaling(min_replicas=2, max_replicas=5, target_ongoing_requests=3.0))

    assert (config.min_replicas, config.max_replicas, config.target_ongoing_requests) == (2, 5, 3.0)
    assert config.initial_replicas is None
    assert config.policy.get_policy()(context({"a": 3.0})) == (1.5, {})


def test_held_replicas_stay_and_more_may_come() -> None:
    """While a rollout runs, one replica that was told is enough."""
    idle, busy = context({"a": 1.0}), context({"a": 100.0})
    for one in (idle, busy):
        one.aggregated_metrics[HELD] = {"a": 0.0, "b": 1.0}

    assert follow_load(idle) == (7, {})
    assert follow_load(busy) == (50.0, {})
    idle.aggregated_metrics[HELD] = {"a": 0.0}
    assert follow_load(idle) == (0.5, {})
