"""Tests of the router's count of calls and of the tables it takes."""

from __future__ import annotations

import asyncio

import pytest

from core.delivery.arm_counts import LATENCY_EDGES_S, ArmCounts, Tally
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.split import WHOLE, ArmKey, Division, MirrorOrder
from core.errors import Code, DeadlineExceeded, LimitReached, ServerFull, Unavailable
from core.routing.admission import TrafficLimits
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


KEY = ArmKey("m", 1, 8)
TO_CANARY = Division(((7, 0), (8, WHOLE)), 1, header="x-user")
ANN = ((b"x-user", b"ann"),)


def divided(
    transport: FakeTransport, division: Division = TO_CANARY, limits: TrafficLimits | None = None
) -> RequestRouter:
    """Make a router that divides the requests for a model."""
    router = RequestRouter("r", transport, Metrics())
    routes = {version: Route.of(ServableId("m", version)) for version in (7, 8)}
    model = ModelRoutes(routes, {"exact": 7}, division=division, limits=limits or TrafficLimits())
    router.apply(RoutingTable(1, {"m": model}, settled=True))
    return router


def counts(router: RequestRouter, key: ArmKey = KEY) -> ArmCounts:
    """Return what a router reports of an arm, without latencies."""
    both = router.report().arms[key]
    return ArmCounts(*(Tally(one.requests, one.server_errors, one.client_errors) for one in (both.shown, both.judged)))


@pytest.mark.parametrize(
    ("version", "label", "fields", "wanted"),
    [
        (None, None, (), 8),
        (None, None, ANN, 8),
        (None, None, None, 7),
        (7, None, ANN, 7),
        (8, None, ANN, 8),
        (7, "exact", ANN, 7),
        (None, "exact", ANN, 7),
    ],
)
def test_only_requests_for_inference_without_version_and_label_are_divided(version, label, fields, wanted) -> None:
    """A number or a label is TensorFlow Serving's contract; metadata is that of the stable version."""
    route = divided(FakeTransport()).resolve("m", version, label, fields)

    assert route.servable.version == wanted
    assert (route.arm is not None) == (fields is not None and version is None and label is None)


async def test_an_answer_counts_for_the_version_that_was_chosen() -> None:
    """Once for people, once for the judge."""
    router = divided(FakeTransport(Answer(Code.INVALID_ARGUMENT, b"no")))

    answer = await router.forward(router.resolve("m", None, None, ANN), CALL)

    assert answer.code is Code.INVALID_ARGUMENT
    assert counts(router) == ArmCounts(Tally(1, 0, 1), Tally(1, 0, 1))
    assert router.report().in_flight == {}


@pytest.mark.parametrize("sends_at_once", [True, False])
async def test_an_error_without_an_answer_counts_as_the_servers(sends_at_once) -> None:
    """Whatever the way to the replica is."""
    transport = FakeTransport(DeadlineExceeded("late"))
    transport.sends_at_once = sends_at_once
    router = divided(transport)

    with pytest.raises(DeadlineExceeded):
        await router.forward(router.resolve("m", None, None, ANN), CALL)

    assert counts(router).shown == Tally(1, 1)
    assert router.report().arms[KEY].shown.slower_than(len(LATENCY_EDGES_S) - 1) == 1


async def test_a_caller_that_gives_up_counts_as_no_error() -> None:
    """It waited, and that is counted."""
    transport = FakeTransport()
    transport.hold()
    router = divided(transport)
    call = asyncio.ensure_future(router.forward(router.resolve("m", None, None, ANN), CALL))
    await asyncio.sleep(0)

    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert counts(router) == ArmCounts(Tally(1), Tally(1))


async def test_a_try_that_is_repeated_elsewhere_is_a_failure_of_the_version_that_lost_it() -> None:
    """Its caller sees a good answer, which would hide that replicas of the version die."""

    class LosesFirst(FakeTransport):
        """Loses each first try."""

        async def call(self, route: Route, call: Call) -> Answer:
            self.answer = ConnectionLost("lost")
            return await super().call(route, call)

        async def repeat(self, route: Route, call: Call) -> Answer:
            self.answer = Answer(Code.OK, b"good")
            return await super().call(route, call)

    router = divided(LosesFirst())

    assert (await router.forward(router.resolve("m", None, None, ANN), CALL)).body == b"good"
    assert counts(router) == ArmCounts(Tally(1), Tally(1, 1))


async def test_a_request_that_is_lost_twice_fails_once() -> None:
    """For its caller and for the judge."""
    router = divided(FakeTransport(ConnectionLost("lost")))

    with pytest.raises(ConnectionLost):
        await router.forward(router.resolve("m", None, None, ANN), CALL)

    assert counts(router) == ArmCounts(Tally(1, 1), Tally(1, 1))


async def test_what_a_limit_refuses_is_not_the_versions() -> None:
    """Nor is a request whose time was up before it could be sent."""
    router = divided(FakeTransport(), limits=TrafficLimits(1e-9))
    router.limits.began("m")

    with pytest.raises(LimitReached):
        await router.forward(router.resolve("m", None, None, ANN), CALL)
    router = divided(FakeTransport())
    with pytest.raises(DeadlineExceeded):
        await router.forward(router.resolve("m", None, None, ANN), Call(Method.PREDICT, b"", 0.0))

    assert counts(router) == ArmCounts()


async def test_a_version_that_does_not_keep_up_fails_what_finds_no_place(monkeypatch) -> None:
    """Its calls wait for it alone: another version may have room."""
    monkeypatch.setattr("deployments.routing.request_router.MOST_CALLS_IN_FLIGHT", 0)
    router = divided(FakeTransport())

    with pytest.raises(ServerFull):
        await router.forward(router.resolve("m", None, None, ANN), CALL)

    assert counts(router) == ArmCounts(Tally(1, 1), Tally(1, 1))


class NotedCopies:
    """Notes what it is told; implements `deployments.division.divisions.Copies`."""

    def __init__(self) -> None:
        self.tables: list[RoutingTable] = []
        self.told: list[tuple[int, Call, Answer]] = []

    def follow(self, table: RoutingTable) -> None:
        """Note."""
        self.tables.append(table)

    def answered(self, route: Route, call: Call, answer: Answer, took_s: float) -> None:
        """Note."""
        assert took_s >= 0
        self.told.append((route.servable.version, call, answer))

    def counts(self) -> dict[ArmKey, MirrorCounts]:
        """Return something."""
        return {KEY: MirrorCounts(dropped=3)}


MIRRORED = Division(((7, WHOLE),), 1, mirror=MirrorOrder(8, WHOLE))


@pytest.mark.parametrize(("division", "is_told"), [(MIRRORED, True), (TO_CANARY, False)])
async def test_who_copies_is_told_of_an_answer(division, is_told) -> None:
    """Only where a mirror is ordered."""
    transport = FakeTransport()
    router = RequestRouter("r", transport, Metrics())
    router.copies = copies = NotedCopies()
    router.apply(divided(transport, division).table)

    answer = await router.forward(router.resolve("m", None, None, ()), CALL)

    assert copies.told == ([(7, CALL, answer)] if is_told else [])
    assert copies.tables == [router.table]
    assert router.report().mirrors == {KEY: MirrorCounts(dropped=3)}


async def test_who_copies_is_not_told_of_what_got_no_answer() -> None:
    """There is nothing to compare with."""
    router = divided(FakeTransport(Unavailable("gone")), MIRRORED)
    router.copies = copies = NotedCopies()

    with pytest.raises(Unavailable):
        await router.forward(router.resolve("m", None, None, ()), CALL)
    await asyncio.sleep(0)

    assert copies.told == []


async def test_a_mirror_needs_nobody_who_copies() -> None:
    """Answers go out all the same."""
    router = divided(FakeTransport(), MIRRORED)

    assert (await router.forward(router.resolve("m", None, None, ()), CALL)).code is Code.OK
    assert router.report().mirrors == {}


def test_reports_are_numbered() -> None:
    """An answer to a broadcast may reach the watcher after a later pull."""
    router = RequestRouter("r", FakeTransport())

    assert [router.report().number, router.report().number] == [1, 2]
