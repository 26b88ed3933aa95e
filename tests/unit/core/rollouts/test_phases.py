"""Tests of the table of phases: what is in it, and that nothing else is possible."""

from __future__ import annotations

import pytest

from core.delivery.rollout_record import RolloutPhase
from core.rollouts.phases import TURNS, ImpossibleTurn, RolloutEvent, phase_after

OTHERS = [(phase, event) for phase in RolloutPhase for event in RolloutEvent if (phase, event) not in TURNS]


@pytest.mark.parametrize(("phase", "event"), OTHERS)
def test_an_event_without_a_row_is_refused_with_both_names(phase: RolloutPhase, event: RolloutEvent) -> None:
    """A rollout that took it would be in a phase that nobody thought of."""
    with pytest.raises(ImpossibleTurn, match=f"phase {phase.name} cannot take the event {event.name}"):
        phase_after(phase, event)


@pytest.mark.parametrize("phase", RolloutPhase)
def test_every_phase_is_entered_and_left(phase: RolloutPhase) -> None:
    """A phase without a way out would hold a rollout for ever."""
    assert any(after is phase for (before, _), after in TURNS.items() if before is not phase)
    assert any(after is not phase for (before, _), after in TURNS.items() if before is phase)


def test_a_canary_that_may_have_traffic_ends_only_after_every_router_has_let_it_go() -> None:
    """The way from a step to the end leads through a phase that waits for the routers."""
    ways = {before for (before, _), after in TURNS.items() if after is RolloutPhase.IDLE}

    assert ways == {RolloutPhase.LOADING, RolloutPhase.PROMOTED, RolloutPhase.ROLLING_BACK}
    assert TURNS[RolloutPhase.ROLLING_BACK, RolloutEvent.IN_FORCE] is RolloutPhase.IDLE
