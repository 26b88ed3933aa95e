"""The short form of the matrix of `python -m tests.chaos --rollouts`: a release goes on to its end, whatever is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.rollout_faults import SHORT_CELLS, RolloutCell, inflict_on_rollout
from tests.chaos.rollout_site import RolloutSite
from tests.chaos.site import running


@pytest.fixture(scope="module")
def site(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RolloutSite]:
    """A server with a Ray of its own, and a model whose versions are released by a plan."""
    ranked = RolloutSite(saved_models, tmp_path_factory.mktemp("rollouts"))
    with running(ranked):
        yield ranked


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cell", SHORT_CELLS, ids=lambda cell: str(cell).replace(" ", "_"))
def test_a_fault_in_a_rollout_costs_what_was_in_flight_and_nothing_else(site: RolloutSite, cell: RolloutCell) -> None:
    """No answer is wrong, only what was in flight on a killed process fails, and the same version is stable in the end."""
    outcome = inflict_on_rollout(cell, site)

    assert outcome.is_within_goal, (outcome.ended, outcome.failures, outcome.wrong)
