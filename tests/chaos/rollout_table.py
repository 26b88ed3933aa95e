"""Prints what faults cost in each state of a rollout."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.release_models import made_release_models
from tests.chaos.release_verdicts import RELEASES, ReleaseOutcome, ReleaseSite, released
from tests.chaos.rollout_faults import ROLLOUT_CELLS, RolloutOutcome, inflict_on_rollout
from tests.chaos.rollout_site import RolloutSite
from tests.chaos.site import running
from tests.conftest import saved_models_folder

CELL = "{:<16} {:<32} {:>8} {:>6} {:>8}   {:<28} {}"
RELEASE = "{:<28} {:<12} {:>12} {:>17} {:>9} {:>7} {:>7}  {}"


def shown_rollout_faults(only: Sequence[str] = ()) -> list[bool]:
    """Strike each fault in each state on one server; `only` has parts of the names of cells to keep to."""
    print(CELL.format("state", "fault", "requests", "failed", "healed", "ended", "goal"), flush=True)
    with tempfile.TemporaryDirectory() as folder, running(RolloutSite(saved_models_folder(), Path(folder))) as site:
        assert isinstance(site, RolloutSite)
        cells = [cell for cell in ROLLOUT_CELLS if not only or any(one in str(cell) for one in only)]
        return [_shown(inflict_on_rollout(cell, site)) for cell in cells]


def _shown(outcome: RolloutOutcome) -> bool:
    goal = "met" if outcome.is_within_goal else "MISSED"
    cells = (outcome.cell.state.name, outcome.cell.fault.name, outcome.requests, len(outcome.failures))
    print(CELL.format(*cells, f"{outcome.healed_s:.1f} s", outcome.ended[:600], goal), flush=True)
    for text in [*sorted(set(outcome.failures))[:4], *sorted(set(outcome.wrong))[:3]]:
        print(f"    {text[:300]}", flush=True)
    return outcome.is_within_goal


def shown_releases(only: Sequence[str] = ()) -> list[bool]:
    """Release good and bad versions one after the other on one server, and print what became of them."""
    cases = [one for one in RELEASES if not only or one.name in only]
    with tempfile.TemporaryDirectory() as folder:
        versions = made_release_models(Path(folder) / "versions")
        with running(ReleaseSite(versions, Path(folder), cases)) as site:
            assert isinstance(site, ReleaseSite)
            print(RELEASE.format("release", "end", "step to end", "directory to end", "requests", "of 2", "failed", ""))
            return [_shown_release(released(case, site)) for case in cases]


def _shown_release(outcome: ReleaseOutcome) -> bool:
    times = (f"{outcome.judged_s:.1f} s", f"{outcome.released_s:.1f} s")
    counts = (outcome.requests, outcome.of_canary, len(outcome.failures))
    end = outcome.ended.removeprefix("rollout_")
    print(RELEASE.format(outcome.case.name, end, *times, *counts, "met" if outcome.is_right else "MISSED"), flush=True)
    print(f"    {outcome.reason[:400]}", flush=True)
    for text in sorted(set(outcome.failures))[:2]:
        print(f"    {text[:200]}", flush=True)
    return outcome.is_right
