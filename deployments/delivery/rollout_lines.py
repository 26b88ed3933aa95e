"""Tells of what happens to rollouts: a line in the log for each, and a notice to whoever the plan names."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from core.delivery.analysis import MetricStanding
from core.delivery.rollout_record import Happening, RolloutRecord
from core.delivery.standings import standings
from core.telemetry.log_lines import audited
from deployments.delivery.notices import Notices

log = logging.getLogger(__name__)


class RolloutLines:
    """Tells of happenings once they are in force."""

    def __init__(self, notices: Notices | None = None) -> None:
        self._notices = notices or Notices()

    def tell(self, model: str, record: RolloutRecord, happenings: Iterable[Happening]) -> None:
        """Tell of what has led to a record."""
        for one in happenings:
            line = f"{one.name} model=%s version=%d stable=%d phase=%s step=%d text=%s"
            values = (model, one.version, record.stable, record.phase.value, record.step, one.text)
            log.info(line, *values, extra=audited())
            if record.plan is not None and record.plan.notify:
                self._notices.tell(record.plan.notify, model, one, _numbers(record))


class SilentLines(RolloutLines):
    """Tells nothing: for somebody who only asks what would happen."""

    def tell(self, model: str, record: RolloutRecord, happenings: Iterable[Happening]) -> None:
        """Tell nothing."""


def _numbers(record: RolloutRecord) -> dict[str, Any]:
    """Return where the rollout stands, and the numbers of each metric."""
    known = standings(record.analysis, record.plan.analysis) if record.plan is not None else ()
    return {
        "stable": record.stable,
        "canary": record.canary,
        "phase": record.phase.value,
        "step": record.step,
        "generation": record.generation,
        "metrics": [_standing(one) for one in known],
    }


def _standing(one: MetricStanding) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "verdict": one.verdict.value,
        "evidence": min(one.evidence, 1e300),  # JSON has no infinity
        "limit": one.limit,
        "stable": {"events": one.stable_events, "requests": one.stable_requests},
        "canary": {"events": one.canary_events, "requests": one.canary_requests},
    }
