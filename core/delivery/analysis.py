"""The analysis of a canary: what was seen goes in, what it says of each metric comes out."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.delivery.arm_counts import Tally
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.output_counts import OutputBins


class Verdict(enum.Enum):
    """What is known of a metric."""

    PASS = "pass"
    FAIL = "fail"
    NOT_ENOUGH_DATA = "not_enough_data"


@dataclass(frozen=True, slots=True)
class ArmWindow:
    """What both arms did between two looks, under one division of the traffic.

    `share` is that of the canary in the requests (or keys) that were divided; 0 in a step that only mirrors. `outputs`
    are by output name, of stable and canary.
    """

    stable: Tally = Tally()
    canary: Tally = Tally()
    share: float = 0.0
    mirror: MirrorCounts | None = None
    stable_outputs: Mapping[str, OutputBins] = field(default_factory=dict)
    canary_outputs: Mapping[str, OutputBins] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnalysisState:
    """The running evidence of one rollout; plain numbers, so that it can be stored."""


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
