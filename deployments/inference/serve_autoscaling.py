"""Ray Serve's autoscaling of versions: the metric that replicas report, and the policy that the controller calls.

Serve imports `follow_load` in its controller by name.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingContext, AutoscalingPolicy

from core.config.model_config import Autoscaling
from core.routing.replica_load import wanted_replicas

OPEN_CALLS = "open_calls"
"""Name of the figure that replicas report: calls that clients made, of the direct transport as routers count them."""

HELD = "held"
"""Name of the figure by which replicas report that none of them may go: a rollout runs."""


def follow_load(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return how many replicas the load of both transports needs; while they are held, none may go."""
    reported = (context.aggregated_metrics or {}).get(OPEN_CALLS, {})
    if context.config is None:
        return context.target_num_replicas, {}
    target = context.config.get_target_ongoing_requests()
    wanted = wanted_replicas(context.total_queued_requests, reported.values(), target)
    is_held = any((context.aggregated_metrics or {}).get(HELD, {}).values())
    return max(wanted, context.target_num_replicas) if is_held else wanted, {}


def autoscaling_config(wanted: Autoscaling) -> AutoscalingConfig:
    """Translate a model's settings."""
    chosen = {key: value for key, value in dataclasses.asdict(wanted).items() if value is not None}
    policy = AutoscalingPolicy(policy_function=f"{follow_load.__module__}:{follow_load.__name__}")
    with warnings.catch_warnings():
        # Serve prefers an environment variable of the whole cluster for `metrics_interval_s`.
        warnings.simplefilter("ignore", DeprecationWarning)
        return AutoscalingConfig(**chosen, policy=policy)
