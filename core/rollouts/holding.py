"""Which versions a rollout holds, and how a table with some routes divides requests for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import Division, Weights
from core.rollouts.candidates import rejected_versions
from core.rollouts.fixed_traffic import fixed_versions, on_versions
from core.rollouts.sight import ModelSight


@dataclass(frozen=True, slots=True)
class Holding:
    """Aspired are `policy(present - avoid) | keep`; those in `again` are loaded although they failed before."""

    keep: frozenset[int] = frozenset()
    avoid: frozenset[int] = frozenset()
    again: frozenset[int] = frozenset()


def holding_of(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> Holding:
    """Return which versions stay loaded whatever the policy says, and which the policy is not offered.

    Versions in `keep` need not be on storage: those that run go on. It has every version with a share of the requests,
    also one that stands in for stable. Avoided are the rejected, those that wait, and with a plan those that the policy
    would turn to only because others are avoided.
    """
    fixed = fixed_versions(record, sight, settings) & (sight.stored.keys() | sight.available)
    serving = dict(record.division.weights) if record.division is not None else {}
    keep = (fixed | {record.stable, record.canary, record.previous} | serving.keys()) - {0}
    avoid = rejected_versions(record, sight) | {record.queued}
    if settings.plan is not None and record.stable:
        avoid |= {version for version in sight.stored if version > record.stable and version not in sight.chosen}
    return Holding(keep, avoid - keep - {0}, frozenset({record.canary}) if record.loads_anew else frozenset())


def division_of(record: RolloutRecord, routed: frozenset[int]) -> Division | None:
    """Return the division for a table with routes to some versions; None leaves requests to the newest version.

    It is the record's, without shares of versions that have no route there: stable takes theirs.
    """
    division = record.division
    if division is None:
        return None
    weights = on_versions(division.weights, routed)
    if not weights:
        return None
    mirror = division.mirror if division.mirror is not None and division.mirror.version in routed else None
    return replace(division, weights=weights, mirror=mirror, labels=_labels(division, routed))


def _labels(division: Division, routed: frozenset[int]) -> dict[str, Weights]:
    found = {label: on_versions(weights, routed) for label, weights in division.labels.items()}
    return {label: weights for label, weights in found.items() if weights}
