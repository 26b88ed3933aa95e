"""The analysis of a canary: what was seen goes in, what it says of each metric comes out."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from core.delivery.arm_counts import Tally
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import OutputBins


class Verdict(enum.Enum):
    """What is known of a metric."""

    PASS = "pass"  # noqa: S105 - no secret
    FAIL = "fail"
    NOT_ENOUGH_DATA = "not_enough_data"
    NOT_JUDGED = "not_judged"
    """The present step has nothing to judge it by, for example the latency of copies."""


NOTHING_COUNTED: Final = Tally()


@dataclass(frozen=True, slots=True)
class ArmWindow:
    """What both arms did between two looks, under one division of the traffic.

    `share` is that of the canary in the requests (or keys) that were divided; 0 in a step that only mirrors. The test
    takes the share that the canary really had from the judged requests of both. `stable_outputs` and `canary_outputs`
    are by output name, summed over the replicas. `lasted_s` is None where it is the interval of the analysis.
    """

    stable: Tally = NOTHING_COUNTED
    canary: Tally = NOTHING_COUNTED
    share: float = 0.0
    mirror: MirrorCounts | None = None
    stable_outputs: Mapping[str, OutputBins] = field(default_factory=dict)
    canary_outputs: Mapping[str, OutputBins] = field(default_factory=dict)
    lasted_s: float | None = None


@dataclass(frozen=True, slots=True)
class AnalysisState:
    """The running evidence of one rollout; plain numbers, so that it can be stored.

    Of the present step: `min_requests` of the canary that it needs, `mirrors` whether it copies requests, `unit` what
    is counted, `delay_left_s` of windows that do not count, `step_requests` that the canary answered (or pairs that
    were compared) in `step_s` seconds.

    Of the whole rollout, by metric: `counts` are events and requests of stable, then of the canary; `pending` those of
    too few requests to be judged yet; `sums` the running tests, `peaks` the greatest logarithm of evidence that each
    ever reached; `failed` the metrics that have failed, `structure` how answers differ in structure, if one did.

    `baseline` are stable's latencies until there are enough of them, `edges` then the bucket above which a request is
    slow, by metric. By output: `bin_edges` or `bin_values` are its bins, `bin_counts` the canary's answers in them,
    `bin_expected` how many there would be if it answered as stable did, and `bin_noise` how uncertain that is.
    """

    min_requests: int = 0
    mirrors: bool = False
    unit: str = "requests"
    delay_left_s: float = 0.0
    step_requests: int = 0
    step_s: float = 0.0
    counts: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    pending: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    sums: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    peaks: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    structure: str = ""
    baseline: tuple[int, ...] = ()
    edges: Mapping[str, int] = field(default_factory=dict)
    bin_edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bin_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bin_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    bin_expected: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    bin_noise: Mapping[str, float] = field(default_factory=dict)


NOTHING_SEEN = AnalysisState()


@dataclass(frozen=True, slots=True)
class MetricStanding:
    """What is known of one metric, with its numbers.

    `evidence` is E and `limit` 1/alpha of this metric: the canary fails where evidence reaches the limit. `unit` is
    "requests", "keys" or "pairs". `outlook` says in words what would change the verdict.
    """

    metric: str
    verdict: Verdict
    stable_events: int = 0
    stable_requests: int = 0
    canary_events: int = 0
    canary_requests: int = 0
    evidence: float = 1.0
    limit: float = 1.0
    unit: str = "requests"
    outlook: str = ""
