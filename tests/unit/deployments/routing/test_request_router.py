"""Tests of the router's count of calls and of the tables it takes."""

from __future__ import annotations

import asyncio

import pytest

from core.errors import Code, DeadlineExceeded, Unavailable
from core.routing.router_report import RouterReport
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, ConnectionLost, Method
from core.telemetry.metric_names import DROPPED_REQUESTS
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.routing.request_router import RequestRouter
from tests.support.fakes import FakeTransport

ROUTE = Route.of(ServableId("m", 1))
CALL = Call(Method.PREDICT, b"body")


@pytest.mark.parametrize(("offered", "used"), [(4, 5), (5, 5), (6, 6)])
def test_only_a_newer_table_is_taken(offered, used) -> None:
    """Broadcasts and pulls may overtake each other."""
    router = RequestRouter("r", FakeTransport())
    first = RoutingTable(5, {"m": ModelRoutes()})
    router.apply(first)

    report = router.apply(RoutingTable(offered))

    assert report == RouterReport("r", used)
    assert (router.table is first) is (used == 5)


async def test_calls_are_counted_while_they_are_in_flight() -> None:
    """The watcher deletes nothing that is in the count."""
    transport = FakeTransport()
    gate = transport.hold()
    router = RequestRouter("r", transport)
    calls = [asyncio.ensure_future(router.forward(ROUTE, CALL)) for _ in range(2)]
    await asyncio.sleep(0)
    assert router.report().in_flight == {"m:1": 2}

    gate.set()

    assert [(await call).code for call in calls] == [Code.OK, Code.OK]
    assert router.report().in_flight == {}


async def test_a_call_counts_from_the_very_turn_in_which_it_is_forwarded() -> None:
    """Between the resolution of a route and the count no table can be confirmed."""
    transport = FakeTransport()
    transport.hold()
    router = RequestRouter("r", transport)
    forwarding = router.forward(ROUTE, CALL)

    forwarding.send(None)

    assert router.report().in_flight == {"m:1": 1}
    forwarding.close()


async def test_failed_and_cancelled_calls_leave_the_count() -> None:
    """Otherwise their version would never be deleted in time."""
    transport = FakeTransport(Unavailable("gone"))
    router = RequestRouter("r", transport)
    with pytest.raises(Unavailable):
        await router.forward(ROUTE, CALL)
    transport.hold()
    call = asyncio.ensure_future(router.forward(ROUTE, CALL))
    await asyncio.sleep(0)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert (router.report().in_flight, transport.cancelled) == ({}, 1)


async def test_the_answer_is_the_transports() -> None:
    """Nothing is read or changed on the way."""
    answer = Answer(Code.NOT_FOUND, b"text")
    transport = FakeTransport(answer)

    assert await RequestRouter("r", transport).forward(ROUTE, CALL) is answer
    assert transport.calls == [(ROUTE, CALL)]


async def test_calls_beyond_the_bound_are_refused(monkeypatch) -> None:
    """Memory stays bounded under overload; the refused call does not count."""
    monkeypatch.setattr("deployments.routing.request_router.MOST_CALLS_IN_FLIGHT", 1)
    transport = FakeTransport()
    gate = transport.hold()
    router = RequestRouter("r", transport)
    first = asyncio.ensure_future(router.forward(ROUTE, CALL))
    await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="1 requests are waiting for"):
        await router.forward(ROUTE, CALL)

    gate.set()
    await first
    assert (router.report().in_flight, len(transport.calls)) == ({}, 1)


async def test_a_call_whose_time_is_up_on_arrival_goes_nowhere() -> None:
    """It waited for its turn here; nobody waits for the answer any more."""
    transport, metrics = FakeTransport(), Metrics()
    router = RequestRouter("r", transport, metrics)

    with pytest.raises(DeadlineExceeded, match="Timed out waiting for notification"):
        await router.forward(ROUTE, Call(Method.PREDICT, b"body", 0.0))

    assert (transport.calls, router.report().in_flight) == ([], {})
    assert metrics.counter(DROPPED_REQUESTS, "m", "expired").value == 1


@pytest.mark.parametrize("sends_at_once", [True, False])
async def test_a_call_that_is_cancelled_is_withdrawn(sends_at_once) -> None:
    """Nobody works for a caller who has gone."""
    transport = FakeTransport()
    transport.hold()
    transport.sends_at_once = sends_at_once
    router = RequestRouter("r", transport)
    forwarding = asyncio.ensure_future(router.forward(ROUTE, CALL))
    while not transport.calls:
        await asyncio.sleep(0)

    forwarding.cancel()
    await asyncio.gather(forwarding, return_exceptions=True)
    await asyncio.sleep(0)

    assert transport.cancelled == 1
    assert router.report().in_flight == {}


async def test_a_call_whose_connection_is_lost_is_repeated_once() -> None:
    """And fails if that fails."""
    transport = FakeTransport(ConnectionLost("lost"))
    router = RequestRouter("r", transport)

    with pytest.raises(ConnectionLost):
        await router.forward(ROUTE, CALL)

    assert len(transport.calls) == 2
    assert router.report().in_flight == {}
