"""What people order: each order in each phase changes the record, does nothing, or is refused with a reason."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from core.delivery.plan import DeliverySettings
from core.delivery.rollout_record import Happening, RolloutRecord
from core.delivery.split import MirrorSettings
from core.rollouts.sight import ModelSight


class OrderVerb(enum.Enum):
    """What can be ordered."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    UNDO = "undo"
    RETRY = "retry"
    TRAFFIC = "traffic"
    MIRROR = "mirror"


@dataclass(frozen=True, slots=True)
class RolloutOrder:
    """An order of a person, who is named `by`.

    `version` is that of START and RETRY, 0 for the one that waits. `is_full` promotes over all steps that are left.
    `traffic` has versions or labels with their shares in basis points; none ends the shares that were ordered.
    `mirror` of None, or a share of 0, ends copies. `generation` is that of the record which the order was made for, None
    for any. `is_forced` does what is refused for safety.
    """

    verb: OrderVerb
    by: str = "operator"
    version: int = 0
    is_full: bool = False
    traffic: tuple[tuple[str, int], ...] = ()
    mirror: MirrorSettings | None = None
    generation: int | None = None
    is_forced: bool = False


def ordered(
    record: RolloutRecord, order: RolloutOrder, sight: ModelSight, settings: DeliverySettings
) -> tuple[RolloutRecord, tuple[Happening, ...]]:
    """Return the record after an order, and what happened: nothing for an order that is fulfilled already.

    Raises FailedPrecondition where the phase does not allow the order, InvalidArgument for an order that never makes
    sense, and Aborted for one that was made for another generation of the record.
    """
    raise NotImplementedError


def change_problem(record: RolloutRecord, versions: frozenset[int]) -> str:
    """Return why labels of these versions, or their configuration, may not be changed now; empty if they may.

    Whoever forces such a change aborts the rollout with it.
    """
    raise NotImplementedError
