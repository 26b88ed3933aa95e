"""A cluster of three hosts, in namespaces: what their faults cost, and that replicas spread over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.cluster import SCALED, ClusterSite, running_cluster
from tests.chaos.host_faults import HEAL_TIMEOUT_S, HOST_FAULTS, HostFault, inflict_on_host, scaled_up
from tests.support.clients import wait_until
from tests.support.network_hosts import why_not_permitted

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(saved_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSite]:
    """The cluster, which may be broken."""
    reason = why_not_permitted()
    if reason:
        pytest.skip(reason)
    with running_cluster(saved_models, tmp_path_factory.mktemp("hosts")) as started:
        yield started


@pytest.mark.parametrize("fault", HOST_FAULTS, ids=lambda fault: fault.name.replace(" ", "_"))
def test_the_fault_of_a_host_costs_the_clients_of_other_hosts_nothing(site: ClusterSite, fault: HostFault) -> None:
    """Their requests are answered, if need be after the version has moved, and no host fetches a version again."""
    outcome = inflict_on_host(fault, site)

    assert outcome.is_within_goal, (outcome.failures[:5], outcome.fetched_twice)


def test_replicas_follow_the_load_onto_a_host_that_is_added(site: ClusterSite) -> None:
    """One on each host is all that three hosts may have; the fourth replica waits for the fourth host."""
    site.wait_until_whole("before", HEAL_TIMEOUT_S)
    with scaled_up(site) as failures:
        wait_until(lambda: site.placement(SCALED)[:3] == [1, 1, 1], "each host has a replica")
        if len(site.members) == 3:
            site.add()
        wait_until(lambda: site.placement(SCALED) == [1, 1, 1, 1], "the added host has one, too", HEAL_TIMEOUT_S)
    site.wait_until_whole("with one replica left", HEAL_TIMEOUT_S)

    assert failures == []
    assert site.fetched_twice() == []
