"""Tests of calls without a task: each is sent, counted and ended exactly once, however it ends."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from core.delivery.arm_counts import ArmCounts, Tally
from core.delivery.split import WHOLE, ArmKey, Division, MirrorOrder
from core.errors import Code, DeadlineExceeded, Unavailable
from core.grpc.model_spec import ModelSpecRef
from core.routing.admission import TrafficLimits
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, ConnectionLost, Method, OpenCall, Waiting
from core.telemetry.metrics import Metrics
from core.versions.record import Failure
from core.versions.servable import ServableId
from deployments.routing.request_router import RequestRouter
from deployments.routing.short_call import ShortCall

ROUTE = Route.of(ServableId("m", 1))
CALL = Call(Method.PREDICT, b"body", 5.0)
GOOD = Answer(Code.OK, b"good")
OF_REQUEST = contextvars.ContextVar("of_request", default="nobody")


@dataclass
class Wire:
    """Carries one call; implements `core.routing.transport.Transport`."""

    is_free: bool = True
    again: Answer | Exception = GOOD
    waiting: Waiting | None = None
    withdrawn: int = 0
    repeated: list[Call] = field(default_factory=list)
    repeated_for: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Keep the receiver."""
        assert (route, call) == (ROUTE, CALL)
        self.waiting = waiting
        return self if self.is_free else None

    def withdraw(self) -> None:
        """Count."""
        self.withdrawn += 1

    async def call(self, route: Route, call: Call) -> Answer:
        """Nothing takes this way here."""
        raise AssertionError

    async def repeat(self, route: Route, call: Call) -> Answer:
        """Return or raise what is prepared."""
        self.repeated.append(call)
        self.repeated_for.append(OF_REQUEST.get())
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.again, Exception):
            raise self.again
        return self.again

    def failing(self) -> dict[str, Failure]:
        """No version fails."""
        return {}


class Noted(ShortCall):
    """Notes how it ends."""

    __slots__ = ("answers", "given_up")
    entry_point = "REST"

    def __init__(self, router: RequestRouter) -> None:
        super().__init__(router, "predict", asyncio.get_running_loop())
        self.answers: list[Answer] = []
        self.given_up = 0

    def ended(self, answer: Answer) -> None:
        self.answers.append(answer)

    def gave_up(self) -> None:
        self.given_up += 1


class Site:
    """A router over one wire, and a call."""

    def __init__(self) -> None:
        self.wire, self.metrics = Wire(), Metrics()
        self.router = RequestRouter("r", self.wire, self.metrics)
        self.router.apply(RoutingTable(1, {"m": ModelRoutes({1: ROUTE})}, settled=True))
        self.call = Noted(self.router)

    def send(self, name: str = "m") -> bool:
        """Send the call."""
        return self.call.send(ModelSpecRef(name), CALL, 0.0)

    @property
    def counts(self) -> dict:
        """The requests counted, by name and status."""
        return dict(self.metrics.snapshot().counters.get(":tensorflow:serving:request_count", {}))

    @property
    def timed(self) -> list[tuple[str, ...]]:
        """The labels under which requests were timed."""
        return list(self.metrics.snapshot().distributions.get(":tensorflow:serving:request_latency", {}))

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight."""
        return self.router.report().in_flight == {}


@pytest.fixture
async def site() -> Site:
    """A router and a call."""
    return Site()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_an_answer_is_counted_and_handed_on(site: Site) -> None:
    """Under the name that was asked for, with its latency; the call is no longer in flight."""
    assert site.send()
    assert (site.call.is_open, site.is_idle, site.counts) == (True, False, {})

    site.wire.waiting.set_result(GOOD)

    assert (site.call.answers, site.call.done(), site.call.is_open) == ([GOOD], True, False)
    assert (site.counts, site.timed) == ({("m", "OK"): 1}, [("m", "predict", "REST")])
    assert site.is_idle


async def test_an_error_is_counted_and_not_timed(site: Site) -> None:
    """TensorFlow Serving times good answers only."""
    site.send()

    site.wire.waiting.set_result(Answer(Code.NOT_FOUND, b"no"))

    assert (site.counts, site.timed, site.is_idle) == ({("m", "NOT_FOUND"): 1}, [], True)


@pytest.mark.parametrize("reason", ["unknown model", "busy connection"])
async def test_a_call_that_cannot_be_sent_now_leaves_nothing(site: Site, reason: str) -> None:
    """The long way takes the request, and counts it."""
    site.wire.is_free = reason != "busy connection"

    assert not site.send("m" if site.wire.is_free is False else "none")

    assert (site.counts, site.is_idle, site.call.is_open, site.call.done()) == ({}, True, False, False)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (DeadlineExceeded("late"), Answer(Code.DEADLINE_EXCEEDED, b"late")),
        (Unavailable("raw \udcff"), Answer(Code.UNAVAILABLE, b"raw \xff")),
        (Unavailable("lone \ud800"), Answer(Code.UNAVAILABLE, b"lone ?")),
        (OSError("odd"), Answer(Code.INTERNAL, b"OSError: odd")),
    ],
)
async def test_a_failure_becomes_an_answer(site: Site, error: Exception, answer: Answer) -> None:
    """Whatever its text; the client always gets one."""
    site.send()

    site.wire.waiting.set_exception(error)

    assert site.call.answers == [answer]
    assert (site.counts, site.is_idle) == ({("m", answer.code.name): 1}, True)


@pytest.mark.parametrize(
    ("again", "answer"),
    [
        (GOOD, GOOD),
        (ConnectionLost("again"), Answer(Code.UNAVAILABLE, b"again")),
        (OSError("odd"), Answer(Code.INTERNAL, b"OSError: odd")),
    ],
)
async def test_a_call_whose_connection_is_lost_is_repeated_once(
    site: Site, again: Answer | Exception, answer: Answer
) -> None:
    """It stays in flight meanwhile, and is counted once."""
    site.wire.again = again
    site.send()

    site.wire.waiting.set_exception(ConnectionLost("lost"))
    assert (site.is_idle, site.call.is_open) == (False, True)
    await until(site.call.done)

    assert (site.wire.repeated, site.call.answers) == ([CALL], [answer])
    assert (site.counts, site.is_idle) == ({("m", answer.code.name): 1}, True)


async def test_a_withdrawn_call_is_counted_as_cancelled(site: Site) -> None:
    """Once; a late answer is dropped."""
    site.send()

    site.call.withdraw()
    site.call.withdraw()
    site.call.set_result(GOOD)

    assert (site.wire.withdrawn, site.call.given_up, site.call.answers) == (1, 1, [])
    assert (site.counts, site.is_idle) == ({("m", "CANCELLED"): 1}, True)


async def test_a_call_withdrawn_during_its_repetition_ends_that_too(site: Site) -> None:
    """Nobody works for a client that has gone."""
    site.wire.gate = asyncio.Event()
    site.send()
    site.wire.waiting.set_exception(ConnectionLost("lost"))
    await until(lambda: bool(site.wire.repeated))

    site.call.withdraw()
    await until(lambda: len(asyncio.all_tasks()) == 1)

    assert (site.call.answers, site.counts, site.is_idle) == ([], {("m", "CANCELLED"): 1}, True)


async def test_a_call_that_was_not_sent_is_not_withdrawn(site: Site) -> None:
    """Its client may go while its body is still arriving."""
    site.call.withdraw()

    assert (site.call.given_up, site.counts, site.is_idle) == (0, {}, True)


async def test_a_repeated_call_knows_nothing_of_the_context_of_the_lost_connection(site: Site) -> None:
    """All calls of a connection would be repeated, and counted, with the trace of one."""
    site.send()
    OF_REQUEST.set("another request")
    site.wire.waiting.set_exception(ConnectionLost("lost"))
    await until(lambda: bool(site.call.answers))

    assert site.wire.repeated_for == ["nobody"]


DIVISION = Division(((2, 0), (1, WHOLE)), 1, header="x-user", mirror=MirrorOrder(2, WHOLE))
ROUTES = {1: ROUTE, 2: Route.of(ServableId("m", 2))}


@pytest.fixture
async def divided() -> Site:
    """A router that gives all requests to a canary, and a call of a user."""
    site = Site()
    site.router.apply(RoutingTable(2, {"m": ModelRoutes(ROUTES, division=DIVISION)}, settled=True))
    site.call.fields = ((b"x-user", b"ann"),)
    return site


def arm(site: Site) -> ArmCounts:
    """Return the counts of the canary, without latencies."""
    both = site.router.report().arms[ArmKey("m", 1, 1)]
    return ArmCounts(*(Tally(one.requests, one.server_errors, one.client_errors) for one in (both.shown, both.judged)))


@pytest.mark.parametrize(
    ("answer", "tally"),
    [(GOOD, Tally(1)), (Answer(Code.NOT_FOUND, b"no"), Tally(1, 0, 1)), (Answer(Code.INTERNAL, b""), Tally(1, 1))],
)
async def test_an_answer_counts_for_the_version_that_was_chosen(divided: Site, answer: Answer, tally: Tally) -> None:
    """And the call says which one that was."""
    assert divided.send()

    divided.wire.waiting.set_result(answer)

    assert arm(divided) == ArmCounts(tally, tally)
    assert divided.call.version == 1


@pytest.mark.parametrize("error", [Unavailable("gone"), OSError("odd")])
async def test_an_error_of_a_divided_call_is_nobodys_answer(divided: Site, error: Exception) -> None:
    """It counts for the version, which did not answer."""
    divided.send()

    divided.wire.waiting.set_exception(error)

    assert arm(divided) == ArmCounts(Tally(1, 1), Tally(1, 1))
    assert divided.call.version == 0


@pytest.mark.parametrize(("again", "errors", "version"), [(GOOD, 0, 1), (ConnectionLost("again"), 1, 0)])
async def test_a_lost_try_counts_for_the_version_that_lost_it(divided: Site, again, errors, version) -> None:
    """The judge sees the loss, the caller the repetition."""
    divided.wire.again = again
    divided.send()

    divided.wire.waiting.set_exception(ConnectionLost("lost"))
    await until(divided.call.done)

    assert arm(divided) == ArmCounts(Tally(1, errors), Tally(1, 1))
    assert divided.call.version == version


async def test_a_withdrawn_call_is_no_error_of_its_version(divided: Site) -> None:
    """Its caller has gone."""
    divided.send()

    divided.call.withdraw()

    assert arm(divided) == ArmCounts(Tally(1), Tally(1))


async def test_a_call_that_takes_the_long_way_is_judged_there(divided: Site) -> None:
    """Its key was seen by the choice that came to nothing."""
    divided.wire.is_free = False
    assert not divided.send()
    divided.wire.is_free = True

    assert divided.send()
    divided.wire.waiting.set_result(GOOD)

    assert arm(divided) == ArmCounts(Tally(1), Tally(1))


async def test_a_divided_call_that_a_limit_refuses_is_not_the_versions(divided: Site) -> None:
    """It reaches no version."""
    limits = TrafficLimits(1e-9)
    models = {"m": ModelRoutes(ROUTES, division=DIVISION, limits=limits)}
    divided.router.apply(RoutingTable(3, models, settled=True))
    divided.router.limits.began("m")

    assert divided.send()

    assert [one.code for one in divided.call.answers] == [Code.RESOURCE_EXHAUSTED]
    assert (arm(divided), divided.call.version) == (ArmCounts(), 0)


async def test_who_copies_is_told_of_the_answer(divided: Site) -> None:
    """Not where an error stands for the answer."""
    told: list[tuple[Route, Call, Answer]] = []

    class Copies:
        """Notes."""

        def answered(self, route: Route, call: Call, answer: Answer, took_s: float) -> None:
            """Note."""
            assert took_s > 0
            told.append((route, call, answer))

    divided.router.copies = Copies()
    divided.send()
    divided.wire.waiting.set_result(GOOD)
    assert (divided.call.answers, told) == ([GOOD], [(ROUTE, CALL, GOOD)])

    failed = Noted(divided.router)
    failed.send(ModelSpecRef("m"), CALL, 0.0)
    divided.wire.waiting.set_exception(DeadlineExceeded("late"))
    await asyncio.sleep(0)

    assert len(told) == 1
