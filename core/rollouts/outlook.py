"""Times and numbers of a rollout in words."""

from __future__ import annotations

from typing import Final

from core.delivery.analysis import AnalysisState, MetricStanding
from core.delivery.plan import RolloutPlan, RolloutStep
from core.delivery.rule_events import STRUCTURE
from core.rollouts.sight import ModelSight

_UNITS: Final = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


def time_in_words(seconds: float) -> str:
    """Return a length of time in the unit that fits it, for example `25 minutes`."""
    for unit_s, name in _UNITS:
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} seconds"


def requests_outlook(state: AnalysisState) -> str:
    """Return how many requests a step still needs, and how long they take; empty when it has them."""
    missing = state.min_requests - state.step_requests
    if missing <= 0:
        return ""
    what = "copies" if state.mirrors else "requests"
    rate = state.step_requests / state.step_s if state.step_s > 0 else 0.0
    had = f"{state.step_requests} of {state.min_requests} {what}"
    if not rate:
        return f"{had}; none came"
    return f"{had}; at {rate:.3g} {what}/s the other {missing} take {time_in_words(missing / rate)}"


def standing_in_words(standing: MetricStanding, stable: int) -> str:
    """Return what was seen of one metric."""
    evidence = f"evidence {standing.evidence:.3g} of {standing.limit:.3g}"
    seen = f"{standing.metric}: {standing.canary_events} of {standing.canary_requests} {standing.unit}"
    if standing.metric == STRUCTURE:  # one is enough: there is no evidence to weigh
        return f"{seen}: {standing.outlook}"
    if not standing.stable_requests:
        return f"{seen}, {evidence}"
    return f"{seen} against {standing.stable_events} of {standing.stable_requests} of version {stable}, {evidence}"


def load_failure(version: int, sight: ModelSight) -> str:
    """Return why a version could not be loaded; empty if it was not tried, or may still be."""
    return f"could not be loaded: {sight.failed[version]}" if version in sight.failed else ""


def breakdown_in_words(version: int, plan: RolloutPlan, sight: ModelSight) -> str:
    """Return why a version cannot answer, for more than a moment; empty if it can, or may soon."""
    gone_s = sight.gone_s.get(version, -1.0)
    is_gone = gone_s >= plan.health_grace_s
    return load_failure(version, sight) or (f"has had no replica for {time_in_words(gone_s)}" if is_gone else "")


def step_in_words(plan: RolloutPlan, step: int) -> str:
    """Return which step of a plan one is, and what it does."""
    return f"step {step + 1} of {len(plan.steps)}: {_what(plan.steps[step])}"


def _what(step: RolloutStep) -> str:
    if step.pause_s is not None:
        return "pause" if step.pause_s == float("inf") else f"pause for {time_in_words(step.pause_s)}"
    if step.mirror:
        return f"{step.mirror / 100:g} % mirrored, bakes {time_in_words(step.bake_s)}"
    return f"{step.weight / 100:g} % of requests, bakes {time_in_words(step.bake_s)}"
