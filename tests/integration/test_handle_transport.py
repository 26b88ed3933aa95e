"""Requests over Serve's handles instead of our own connections: clients notice nothing, and the same tests hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.metric_names import FORWARDED_REQUESTS
from tests.integration import test_grpc, test_serving
from tests.integration.conftest import LiveServer, redeployed
from tests.support.clients import RestClient
from tests.support.prometheus_page import scrape

channel = test_grpc.channel
SUITES = (test_serving, test_grpc)
globals().update(
    {
        f"{name}_over_handles": test
        for suite in SUITES
        for name, test in vars(suite).items()
        if name.startswith("test_") and callable(test)
    }
)


@pytest.fixture(scope="module", autouse=True)
def over_handles(server: LiveServer) -> Iterator[None]:
    """Routers that use no direct connections for requests, for the time of this module."""
    with redeployed(server, direct_transport=False):
        yield


def test_no_request_takes_the_direct_way(client: RestClient) -> None:
    """Otherwise nothing here would mean anything."""
    before = scrape(client)
    client.predict("half_plus_two", [1.0])
    after = scrape(client)

    def forwarded(transport: str) -> float:
        labels = {"model_name": "half_plus_two", "transport": transport}
        return after.value(FORWARDED_REQUESTS, **labels) - before.value(FORWARDED_REQUESTS, **labels)

    assert (forwarded("handle"), forwarded("direct")) == (1, 0)
