"""The phases of a rollout and what leads from one to the next: a row for each, and anything else is a defect."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from core.delivery.rollout_record import RolloutPhase
from core.errors import Internal


class RolloutEvent(enum.Enum):
    """What can happen to a rollout."""

    BEGUN = "a version was found, or ordered, to become the next"
    LOADED = "the canary answers at every router"
    DROPPED = "the canary is given up before it got anything to do"
    WENT_ON = "the next step begins, or a pause ends"
    WAITS_AGAIN = "a pause ends, and the canary is still being loaded"
    HELD = "the plan, the analysis or a person pauses"
    COMPLETED = "nothing is left of the plan"
    IN_FORCE = "every router divides requests as it should"
    TURNED_DOWN = "the canary is to get nothing any more"
    WINDOW_OVER = "there is no way back any more"


TURNS: Mapping[tuple[RolloutPhase, RolloutEvent], RolloutPhase] = MappingProxyType(
    {
        (RolloutPhase.IDLE, RolloutEvent.BEGUN): RolloutPhase.LOADING,
        (RolloutPhase.LOADING, RolloutEvent.LOADED): RolloutPhase.STEP,
        (RolloutPhase.LOADING, RolloutEvent.DROPPED): RolloutPhase.IDLE,
        (RolloutPhase.LOADING, RolloutEvent.TURNED_DOWN): RolloutPhase.ROLLING_BACK,
        (RolloutPhase.LOADING, RolloutEvent.HELD): RolloutPhase.PAUSED,
        (RolloutPhase.STEP, RolloutEvent.WENT_ON): RolloutPhase.STEP,
        (RolloutPhase.STEP, RolloutEvent.HELD): RolloutPhase.PAUSED,
        (RolloutPhase.STEP, RolloutEvent.COMPLETED): RolloutPhase.PROMOTING,
        (RolloutPhase.STEP, RolloutEvent.TURNED_DOWN): RolloutPhase.ROLLING_BACK,
        (RolloutPhase.PAUSED, RolloutEvent.HELD): RolloutPhase.PAUSED,
        (RolloutPhase.PAUSED, RolloutEvent.WENT_ON): RolloutPhase.STEP,
        (RolloutPhase.PAUSED, RolloutEvent.WAITS_AGAIN): RolloutPhase.LOADING,
        (RolloutPhase.PAUSED, RolloutEvent.COMPLETED): RolloutPhase.PROMOTING,
        (RolloutPhase.PAUSED, RolloutEvent.TURNED_DOWN): RolloutPhase.ROLLING_BACK,
        (RolloutPhase.PROMOTING, RolloutEvent.IN_FORCE): RolloutPhase.PROMOTED,
        (RolloutPhase.PROMOTING, RolloutEvent.TURNED_DOWN): RolloutPhase.ROLLING_BACK,
        (RolloutPhase.PROMOTED, RolloutEvent.WINDOW_OVER): RolloutPhase.IDLE,
        (RolloutPhase.PROMOTED, RolloutEvent.TURNED_DOWN): RolloutPhase.ROLLING_BACK,
        (RolloutPhase.ROLLING_BACK, RolloutEvent.IN_FORCE): RolloutPhase.IDLE,
        (RolloutPhase.ROLLING_BACK, RolloutEvent.HELD): RolloutPhase.PAUSED,
    }
)


class ImpossibleTurn(Internal):
    """An event that cannot happen in this phase."""

    def __init__(self, phase: RolloutPhase, event: RolloutEvent) -> None:
        Exception.__init__(self, phase, event)

    def __str__(self) -> str:
        phase, event = self.args
        return f"a rollout in phase {phase.name} cannot take the event {event.name}"


def phase_after(phase: RolloutPhase, event: RolloutEvent) -> RolloutPhase:
    """Return the phase after an event; raises ImpossibleTurn for one without a row."""
    try:
        return TURNS[phase, event]
    except KeyError:
        raise ImpossibleTurn(phase, event) from None
