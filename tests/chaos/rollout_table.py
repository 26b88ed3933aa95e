"""Prints what faults cost in each state of a rollout."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.rollout_faults import ROLLOUT_FAULTS, STATES, RolloutOutcome, inflict_on_rollout
from tests.chaos.rollout_site import RolloutSite
from tests.chaos.site import running
from tests.conftest import saved_models_folder

CELL = "{:<16} {:<32} {:>8} {:>6} {:>8}   {:<28} {}"


def shown_rollout_faults(only: Sequence[str] = ()) -> list[bool]:
    """Strike each fault in each state on one server; `only` has beginnings of states or faults to keep to."""
    print(CELL.format("state", "fault", "requests", "failed", "healed", "ended", "goal"), flush=True)
    with tempfile.TemporaryDirectory() as folder, running(RolloutSite(saved_models_folder(), Path(folder))) as site:
        assert isinstance(site, RolloutSite)
        cells = [
            (fault, state)
            for state in STATES
            for fault in ROLLOUT_FAULTS
            if not only or any(one in f"{state.name}: {fault.name}" for one in only)
        ]
        return [_shown(inflict_on_rollout(fault, state, site)) for fault, state in cells]


def _shown(outcome: RolloutOutcome) -> bool:
    goal = "met" if outcome.is_within_goal else "MISSED"
    cells = (outcome.state.name, outcome.fault.name, outcome.requests, len(outcome.failures))
    print(CELL.format(*cells, f"{outcome.healed_s:.1f} s", outcome.ended[:600], goal), flush=True)
    for text in [*sorted(set(outcome.failures))[:4], *sorted(set(outcome.wrong))[:3]]:
        print(f"    {text[:300]}", flush=True)
    return outcome.is_within_goal
