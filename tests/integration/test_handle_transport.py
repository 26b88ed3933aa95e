"""Requests over Serve's handles instead of our own connections: clients notice nothing, and the same tests hold."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from core.telemetry.metric_names import FORWARDED_REQUESTS
from core.telemetry.spans import TRANSPORT
from tests.integration import test_grpc, test_serving, test_tracing
from tests.integration.conftest import LiveServer, redeployed
from tests.support.clients import RestClient
from tests.support.prometheus_page import scrape
from tests.support.span_collector import SpanCollector

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


def test_a_trace_goes_over_handles_too(server: LiveServer, collector: SpanCollector) -> None:
    """The model server's spans are below the router's, whichever way the call took."""
    trace_id = secrets.token_hex(16)

    test_tracing.ask(server, "half_plus_two", '{"instances": [1.0]}', test_tracing.headers(trace_id))

    found = test_tracing.spans_of(collector, trace_id, test_tracing.NAME, "route", "call", "run")
    test_tracing.assert_below(found[test_tracing.NAME], found["route"], found["call"], found["run"])
    assert found["call"].attributes[TRANSPORT] == "handle"
