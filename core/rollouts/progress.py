"""What follows for a rollout from one look at its model."""

from __future__ import annotations

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import Happening, RolloutRecord
from core.rollouts.sight import ModelSight


def advance(
    record: RolloutRecord, sight: ModelSight, settings: DeliverySettings
) -> tuple[RolloutRecord, tuple[Happening, ...]]:
    """Return the record after a look, and what happened; at most one transition for each look.

    The same look once more changes nothing but clocks. The generation of the record rises with every change that
    matters (`phase`, versions, division, …), not with clocks and evidence: whoever stores records stores a new
    generation before the table that follows from it is published, and clocks now and then.
    """
    raise NotImplementedError


def awaited_gate(record: RolloutRecord) -> str:
    """Return the URL that has to be asked whether the rollout may go on; empty where nothing waits for an answer."""
    raise NotImplementedError
