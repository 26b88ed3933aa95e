"""Which versions a rollout holds, and how a table divides requests for it."""

from __future__ import annotations

from dataclasses import dataclass

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import RolloutRecord
from core.delivery.split import Division
from core.rollouts.sight import ModelSight


@dataclass(frozen=True, slots=True)
class Holding:
    """Aspired are `policy(present - avoid) | keep`."""

    keep: frozenset[int] = frozenset()
    avoid: frozenset[int] = frozenset()


def holding_of(record: RolloutRecord, sight: ModelSight, settings: DeliverySettings) -> Holding:
    """Return which versions stay loaded whatever the policy says, and which the policy is not offered.

    Versions in `keep` need not be on storage: those that run go on (`core.versions.reconcile`).
    """
    raise NotImplementedError


def division_of(record: RolloutRecord, routed: frozenset[int]) -> Division | None:
    """Return the division for a table with routes to some versions; None leaves requests to the newest version.

    It is the record's, without shares of versions that have no route there: stable takes theirs.
    """
    raise NotImplementedError
