"""Open gRPC ports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.doors.grpc_sites import GrpcSite, GrpcSiteMaker, grpc_sites
from tests.support.doors.http2_probes import Bystander


@pytest.fixture(scope="module")
def both_ways() -> Iterator[tuple[GrpcSite, GrpcSite]]:
    """A port whose calls take the short way where they can, and one where they never do."""
    with grpc_sites() as make:
        yield make("short"), make("handled")


@pytest.fixture
def make_site() -> Iterator[GrpcSiteMaker]:
    """Makes gRPC ports."""
    with grpc_sites() as make:
        yield make


@pytest.fixture
def site(make_site: GrpcSiteMaker) -> GrpcSite:
    return make_site()


@pytest.fixture(scope="module")
def probed_site() -> Iterator[GrpcSite]:
    """One port for all probes of a module."""
    with grpc_sites() as make:
        yield make()


@pytest.fixture(scope="module")
def bystander(probed_site: GrpcSite) -> Iterator[Bystander]:
    """Another client of that port, connected all the time."""
    client = Bystander(probed_site)
    yield client
    client.close()
