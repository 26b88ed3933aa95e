"""The short form of `make chaos`: kills and lost storage under load cost no more requests than they may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.faults import HOSTED_SHORT, SHORT, Fault, inflict
from tests.chaos.site import HostedSite, Site, running


@pytest.fixture(scope="module")
def site(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with a Ray of its own, which may be broken."""
    with running(Site(saved_models, tmp_path_factory.mktemp("chaos"))) as started:
        yield started


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", SHORT, ids=lambda fault: fault.name.replace(" ", "_"))
def test_a_fault_costs_no_more_requests_than_it_may(site: Site, fault: Fault) -> None:
    """Full service comes back, no version is lost, and only what was in flight on a killed replica may fail."""
    outcome = inflict(fault, site)

    assert outcome.is_within_goal, (outcome.failures, outcome.left_over)


@pytest.fixture(scope="module")
def hosted_site(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same server with hosted versions."""
    with running(HostedSite(saved_models, tmp_path_factory.mktemp("hosted"))) as started:
        yield started


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", HOSTED_SHORT, ids=lambda fault: fault.name.replace(" ", "_"))
def test_a_fault_of_hosted_versions_costs_no_more_requests_than_it_may(hosted_site: Site, fault: Fault) -> None:
    """The host and what forks may die without a failed request; a version's own process costs what it was at."""
    outcome = inflict(fault, hosted_site)

    assert outcome.is_within_goal, (outcome.failures, outcome.left_over)
