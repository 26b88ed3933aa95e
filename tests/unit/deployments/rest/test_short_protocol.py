"""The short way of small requests gives what the long way gives: answers, counts, headers, and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from core.errors import Code, DeadlineExceeded, Unavailable
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, ConnectionLost
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.rest.short_protocol import MOST_KNOWN_TARGETS, KnownTargets
from deployments.routing import direct_connection
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import Reply, free_port, wait_until
from tests.support.doors.door_sites import DoorSite
from tests.support.doors.raw_http import RawConnection, request
from tests.support.fakes import FakeTransport

PREDICT = "/v1/models/m:predict"
GOOD = request("POST", PREDICT, b'{"instances": [1.0]}')
TABLE = RoutingTable(1, {"m": ModelRoutes({1: Route.of(ServableId("m", 1))}, {"stable": 1})}, settled=True)


class Site(DoorSite):
    """An open REST port."""

    def ask(self, content: bytes) -> Reply:
        with RawConnection(self.port) as connection:
            return connection.ask(content)


Maker = Callable[..., Site]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "cors"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[tuple[Site, Site]]:
    """A port whose requests take the short way where they can, and one where they never do."""
    with sites() as make:
        yield make("short", cors=request.param), make("long", cors=request.param)


@pytest.fixture
def make_site() -> Iterator[Maker]:
    """Makes REST ports."""
    with sites() as make:
        yield make


@contextmanager
def sites() -> Iterator[Maker]:
    loop = LoopThread("short-protocol-test")
    doors: list[HttpDoor] = []

    def made(way: str = "short", answer: Answer | Exception | None = None, **limits: object) -> Site:
        transport, metrics = FakeTransport(answer), Metrics()
        transport.sends_at_once = way == "short"
        router = RequestRouter("r", transport, metrics)
        router.apply(TABLE)
        port = free_port()
        door = HttpDoor(HttpAddress("127.0.0.1", port), HttpApi(router, HttpLimits(**limits), "t"), "t")
        loop.run(door.open()).result(60)
        doors.append(door)
        return Site(port, transport, router, door, metrics, loop)

    yield made
    for door in doors:
        loop.run(door.drain(1.0)).result(60)
    loop.stop()
    loop.join(60)


def without_date(reply: Reply) -> tuple:
    return reply.status, {key: value for key, value in reply.headers.items() if key != "date"}, reply.body


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (GOOD, None),
        (request("POST", "/v1/models/m/versions/1:predict", b"{}"), None),
        (request("POST", "/v1/models/m/labels/stable:classify", b"{}"), None),
        (request("POST", "/v1/models/m/labels/none:regress", b"{}"), None),
        (request("POST", "/v1/models/none:predict", b"{}"), None),
        (request("POST", "/v1/models/none:predict", b"nonsense"), None),
        (request("POST", "/v1/models/m/versions/99999999999999999999:predict", b"{}"), None),
        (request("POST", PREDICT), None),
        (request("POST", PREDICT, b"{}"), Answer(Code.INVALID_ARGUMENT, "n\u00e4in".encode())),
        (request("POST", PREDICT, b"{}"), Unavailable("full")),
        (request("POST", PREDICT, b"{}"), DeadlineExceeded("late")),
        (request("POST", PREDICT, b"{}"), Answer(Code.OK, b"x" * 300_000)),
        (request("POST", PREDICT, b"{}", "Connection: close"), None),
        (request("POST", PREDICT, b"{}", "Content-Encoding: gzip"), None),
    ],
)
def test_both_ways_give_the_same_answer_and_count(both_ways: tuple[Site, Site], content: bytes, answer) -> None:
    """A client cannot tell which way its request took; nor can an operator."""
    short, long = both_ways
    for site in both_ways:
        site.forget(answer)

    replies = [without_date(site.ask(content)) for site in (short, long)]

    assert replies[0] == replies[1]
    assert short.counts == long.counts
    assert [call for _, call in short.transport.calls] == [call for _, call in long.transport.calls]
    assert short.is_idle
    assert long.is_idle


def test_a_lost_connection_is_tried_once_more(make_site: Maker) -> None:
    """The client of a replica that was killed notices nothing; a second loss is told."""
    site = make_site(answer=ConnectionLost("gone"))

    reply = site.ask(GOOD)

    assert reply.status == 503
    assert len(site.transport.calls) == 2
    assert site.is_idle


def test_an_unexpected_failure_is_an_internal_error(make_site: Maker) -> None:
    """The connection goes on."""
    site = make_site()
    site.transport.answer = ConnectionLost("gone")
    with RawConnection(site.port) as connection:
        first = connection.ask(GOOD)
        site.transport.answer = Answer(Code.OK, b"{}")
        second = connection.ask(GOOD)

    assert (first.status, second.status) == (503, 200)


def test_a_call_that_takes_too_long_times_out(make_site: Maker, monkeypatch) -> None:
    """The model server is told with the call; the router itself waits a little longer."""
    monkeypatch.setattr(direct_connection, "ANSWER_GRACE_S", 0.01)
    site = make_site(timeout_s=0.2)
    gate = site.hold()

    reply = site.ask(GOOD)

    assert (reply.status, reply.error) == (504, "Timed out waiting for notification")
    assert site.is_idle
    gate()


def test_a_client_that_goes_withdraws_its_call(make_site: Maker) -> None:
    """Nobody works for nobody, and the request counts as cancelled."""
    site = make_site()
    site.hold()
    with RawConnection(site.port) as connection:
        connection.send(GOOD)
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way")

    wait_until(lambda: site.transport.cancelled == 1, "the call was withdrawn")
    wait_until(lambda: site.is_idle, "nothing is in flight")
    assert site.counts == {("m", "CANCELLED"): 1}


def test_a_pipelined_client_that_goes_leaves_nothing(make_site: Maker) -> None:
    """Nothing is read while a request waits behind another one, so its end is noticed with the first answer."""
    site = make_site()
    gate = site.hold()
    with RawConnection(site.port) as connection:
        connection.send(GOOD + GOOD)
        wait_until(lambda: len(site.transport.calls) == 1, "the first call is on its way")

    gate()

    wait_until(lambda: not site.door._server.server_state.connections, "the connection is gone")
    wait_until(lambda: site.is_idle, "nothing is in flight")


def test_a_door_that_drains_finishes_what_is_on_the_short_way(make_site: Maker) -> None:
    """The answer says that it is the last one."""
    site = make_site()
    gate = site.hold()
    with RawConnection(site.port) as connection:
        connection.send(GOOD)
        wait_until(lambda: len(site.transport.calls) == 1, "the call is on its way")
        draining = site.loop.run(site.door.drain(60.0))
        wait_until(lambda: site.door._api.draining, "the door drains")
        gate()
        reply = connection.reply()
        draining.result(60)

        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert connection.is_closed()


def test_targets_are_known_up_to_a_number() -> None:
    """Clients choose them, so they must not fill the memory."""
    known = KnownTargets()

    for number in range(MOST_KNOWN_TARGETS + 10):
        assert known.get(b"/v1/models/m%d:predict" % number).request.name == f"m{number}"

    assert len(known._requests) <= MOST_KNOWN_TARGETS


@pytest.mark.parametrize(
    "target", [b"/healthz", b"/v1/models/m", b"/v1/models/m:PREDICT", b"/v1/models/" + b"x" * 600 + b":predict"]
)
def test_unusual_targets_take_the_long_way(target: bytes) -> None:
    """It knows what is wrong with them, if anything."""
    assert KnownTargets().get(target) is None
