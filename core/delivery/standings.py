"""What is known of each metric of a canary, with its numbers and in words: for statuses, logs, pages and metrics."""

from __future__ import annotations

from core.delivery.analysis import AnalysisState, MetricStanding
from core.delivery.plan import Analysis


def standings(state: AnalysisState, analysis: Analysis) -> tuple[MetricStanding, ...]:
    """Return the standing of each rule in the plan's order, and before them that of the answers' structure if it failed.

    A metric that has failed stays failed for the whole rollout.
    """
    raise NotImplementedError
