"""Ray Serve's autoscaling of versions: the settings that Serve gets, and the policy that it asks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from core.config.model_config import Autoscaling
from deployments.inference.serve_autoscaling import DIRECT_CALLS, autoscaling_config, follow_load


def context(direct: dict[str, float] | None, handles: float = 0.0, target: float | None = 2.0) -> SimpleNamespace:
    """Make the part of Serve's context that the policy reads."""
    return SimpleNamespace(
        aggregated_metrics=None if direct is None else {DIRECT_CALLS: direct},
        total_num_requests=handles,
        target_num_replicas=7,
        config=None if target is None else SimpleNamespace(get_target_ongoing_requests=lambda: target),
    )


@pytest.mark.parametrize(
    ("given", "replicas"),
    [
        (context({"a": 3.0, "b": 1.0}), 2.0),
        (context({"a": 3.0}, handles=1.0), 2.0),
        (context({}), 0.0),
        (context(None, handles=4.0), 2.0),
        (context({"a": 100.0}, target=None), 7),
    ],
    ids=["direct", "both transports", "idle", "no report", "no configuration"],
)
def test_replicas_follow_the_calls_of_both_transports(given, replicas) -> None:
    """Serve itself sees only those of its handles."""
    assert follow_load(given) == (replicas, {})


def test_the_settings_of_a_model_are_translated() -> None:
    """What is not set is left to Serve, which finds the policy by its import path."""
    config = autoscaling_config(Autoscaling(min_replicas=2, max_replicas=5, target_ongoing_requests=3.0))

    assert (config.min_replicas, config.max_replicas, config.target_ongoing_requests) == (2, 5, 3.0)
    assert config.initial_replicas is None
    assert config.policy.get_policy()(context({"a": 3.0})) == (1.5, {})
