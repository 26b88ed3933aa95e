"""Which events of a window each metric looks at: the judgement sees nothing else of a request.

A series of events has a key: the metric's name, and for an output's bins their number as well.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from core.delivery.analysis import AnalysisState, ArmWindow
from core.delivery.arm_counts import LATENCY_EDGES_S
from core.delivery.mirror_counts import MirrorCounts, OutputCounts
from core.delivery.output_counts import OutputBins
from core.delivery.plan import MetricRule, RuleKind
from core.evidence.binned_values import bins_in
from core.evidence.running_tests import ArmEvents

RATIOS: Final = frozenset({RuleKind.SERVER_ERRORS, RuleKind.CLIENT_ERRORS, RuleKind.SLOW_REQUESTS})
"""Metrics whose rate is compared with that of stable."""

OF_PAIRS: Final = frozenset({RuleKind.FLIPS, RuleKind.TOLERANCE})
"""Metrics whose rate is compared with a limit."""

STRUCTURE: Final = "structure"
"""The metric of answers with other outputs, types or shapes, which no plan needs to name."""

ENOUGH_FOR_EDGES: Final = 1000
"""Latencies of stable of which the bucket is chosen above which a request is slow."""


class PairEvents(NamedTuple):
    """Pairs of answers, and those with an event."""

    events: int = 0
    pairs: int = 0


def judges(rule: MetricRule, *, mirrors: bool) -> bool:
    """Whether a step that mirrors, or one that does not, has something to judge a metric by.

    Copies can fail alone, which says as much as errors of divided requests; their latency and the client's errors say
    nothing.
    """
    return rule.kind is RuleKind.SERVER_ERRORS or (rule.kind in OF_PAIRS) is mirrors


def arm_events(rule: MetricRule, state: AnalysisState, window: ArmWindow) -> Mapping[str, ArmEvents]:
    """Return the events of a window by key, of a metric that compares two arms; none where no limit is known yet."""
    if rule.kind is RuleKind.OUTPUT_DRIFT:
        return dict(_in_bins(rule, state, window))
    if rule.kind is RuleKind.SLOW_REQUESTS:
        edge = state.edges.get(rule.name)
        if edge is None:
            return {}
        arms = (window.stable, window.canary)
        counts = [(arm.slower_than(edge), sum(arm.latency)) for arm in arms]
        return {rule.name: ArmEvents(*counts[0], *counts[1])}
    stable, canary = window.stable, window.canary
    if rule.kind is RuleKind.CLIENT_ERRORS:
        events = ArmEvents(stable.client_errors, stable.requests, canary.client_errors, canary.requests)
    elif window.mirror is not None and state.mirrors:
        events = ArmEvents(stable.server_errors, stable.requests, window.mirror.failed, window.mirror.compared)
    else:
        events = ArmEvents(stable.server_errors, stable.requests, canary.server_errors, canary.requests)
    return {rule.name: events}


def _in_bins(rule: MetricRule, state: AnalysisState, window: ArmWindow) -> Iterator[tuple[str, ArmEvents]]:
    """Yield the answers of both arms in each bin of an output."""
    bins = bins_in(state.bin_edges.get(rule.output, ()), state.bin_values.get(rule.output, ()))
    stable = window.stable_outputs.get(rule.output, OutputBins()).counts
    canary = window.canary_outputs.get(rule.output, OutputBins()).counts
    in_stable = [stable.get(str(one), 0) for one in range(bins)]
    in_canary = [canary.get(str(one), 0) for one in range(bins)]
    of_stable, of_canary = sum(in_stable), sum(in_canary)
    for one in range(bins):
        yield bin_key(rule, one), ArmEvents(in_stable[one], of_stable, in_canary[one], of_canary)


def bin_key(rule: MetricRule, number: int) -> str:
    """Return the key of the events in a bin."""
    return f"{rule.name}:{number}"


def pair_events(rule: MetricRule, mirror: MirrorCounts) -> PairEvents:
    """Return the pairs of a metric that has a limit; without an output, those outside of the tolerance in any."""
    output = mirror.outputs.get(rule.output, OutputCounts())
    if rule.kind is RuleKind.FLIPS:
        return PairEvents(output.flips, mirror.pairs)
    return PairEvents(output.outside if rule.output else mirror.outside, mirror.pairs)


def edge_of(latency: tuple[int, ...], quantile: float) -> int | None:
    """Return the bucket whose upper edge is next above a quantile; None while there are too few latencies."""
    total = sum(latency)
    if total < ENOUGH_FOR_EDGES:
        return None
    return min(bisect_left(list(accumulate(latency)), quantile * total), len(LATENCY_EDGES_S) - 1)
