"""What the REST port does with bytes on a connection: real sockets, versions that answer from memory."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from core.rest.connection_limits import ConnectionLimits
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.rest import body as rest_body
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from deployments.routing.request_router import RequestRouter
from deployments.system.event_loop import LoopThread
from tests.support.clients import free_port, wait_until
from tests.support.doors.raw_http import RawConnection, chunked, request
from tests.support.fakes import FakeTransport

BODY = b'{"instances": [1.0]}'
PREDICT = "/v1/models/h2:predict"
GOOD = request("POST", PREDICT, BODY)
CHUNKED = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
HOST = "127.0.0.1"
LIMIT = 1000
TABLE = RoutingTable(
    1,
    {"h2": ModelRoutes({1: Route.of(ServableId("h2", 1))}, {}, (VersionStatus(1, State.AVAILABLE),))},
    settled=True,
)


@dataclass
class Door:
    """An open REST port, and the transport behind it."""

    port: int
    transport: FakeTransport
    loop: LoopThread

    def connect(self, timeout_s: float = 60.0) -> RawConnection:
        return RawConnection(self.port, timeout_s)

    @property
    def bodies(self) -> list[bytes]:
        return [call.body for _, call in self.transport.calls]


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    """The event loop on which doors open."""
    thread = LoopThread("http-protocol-test")
    yield thread
    thread.stop()
    thread.join(60)


@pytest.fixture(params=["short way", "long way"])
def door(loop: LoopThread, request: pytest.FixtureRequest) -> Iterator[Door]:
    """A door that takes bodies of a thousand bytes; requests take the short way where they can, or never."""
    transport = FakeTransport()
    transport.sends_at_once = request.param == "short way"
    router = RequestRouter("r", transport)
    router.apply(TABLE)
    port = free_port()
    opened = HttpDoor(HttpAddress(HOST, port), HttpApi(router, HttpLimits(max_body_bytes=LIMIT), "t"), "t")
    loop.run(opened.open()).result(60)
    yield Door(port, transport, loop)
    if transport.gate is not None:
        loop.run(_set(transport)).result(60)
    loop.run(opened.drain(1.0)).result(60)


async def _set(transport: FakeTransport) -> None:
    assert transport.gate is not None
    transport.gate.set()


def test_a_connection_carries_many_requests(door: Door) -> None:
    """Good ones and bad ones, of every kind."""
    with door.connect() as connection:
        statuses = [
            connection.ask(GOOD).status,
            connection.ask(request("POST", "/v1/models/nope:predict", BODY)).status,
            connection.ask(request("GET", "/v1/models/h2")).status,
            connection.ask(request("HEAD", "/v1/models/h2"), "HEAD").status,
            connection.ask(request("OPTIONS", PREDICT, b"", "Origin: http://a")).status,
            connection.ask(request("POST", "/v1/foo", b"x" * 100_000)).status,
            connection.ask(GOOD).status,
        ]

    assert statuses == [200, 404, 200, 400, 200, 400, 200]


def test_pipelined_requests_are_answered_in_order(door: Door) -> None:
    """Whatever comes in one packet."""
    with door.connect() as connection:
        connection.send(GOOD * 3 + request("GET", "/v1/models/no") + GOOD)
        statuses = [connection.reply().status for _ in range(5)]

    assert statuses == [200, 200, 200, 404, 200]
    assert door.bodies == [BODY] * 4


def test_a_body_may_come_in_chunks(door: Door) -> None:
    """As from clients that do not know its length."""
    with door.connect() as connection:
        reply = connection.ask(chunked("POST", PREDICT, BODY[:3], BODY[3:4], BODY[4:]))

    assert (reply.status, door.bodies) == (200, [BODY])


def test_a_body_may_come_byte_by_byte(door: Door) -> None:
    """Slow clients are waited for, and others are answered meanwhile."""
    with door.connect() as slow, door.connect() as other:
        slow.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(GOOD) - 1):
            slow.send(GOOD[at : at + 1])
        assert other.ask(GOOD).status == 200
        assert slow.ask(GOOD[-1:]).status == 200


def test_a_client_may_ask_before_it_sends_its_body(door: Door) -> None:
    """`Expect: 100-continue` is answered when the body is wanted, and only then."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
    with door.connect() as connection:
        assert connection.ask(f"{head}{len(BODY)}\r\n\r\n".encode()).status == 100
        assert connection.ask(BODY).status == 200
        assert connection.ask(f"{head}{LIMIT + 1}\r\n\r\n".encode()).status == 413


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(request("POST", PREDICT, b"")[:-4].replace(b"h: 0", b"h: 99999999999"), id="declared"),
        pytest.param(
            chunked("POST", PREDICT, b"x" * (LIMIT + 1)).removesuffix(b"0\r\n\r\n"),
            id="in chunks",
        ),
    ],
)
def test_a_body_that_is_too_large_is_refused_before_it_is_there(door: Door, monkeypatch, content: bytes) -> None:
    """The answer comes at once and the connection ends soon, although the rest never comes."""
    monkeypatch.setattr(rest_body, "LINGER_S", 0.1)
    with door.connect() as connection:
        reply = connection.ask(content + b"\r\n\r\n" if content.endswith(b"9") else content)

        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert reply.error == f"The request body is larger than the limit of {LIMIT} bytes (--rest_api_max_body_bytes)."
        assert connection.is_closed()
    assert door.bodies == []


def test_a_client_that_sends_on_sees_that_its_body_was_refused(door: Door, monkeypatch) -> None:
    """Many clients read no answer before they have sent everything, which takes its time on a busy machine."""
    monkeypatch.setattr(rest_body, "LINGER_S", 60.0)
    with door.connect() as connection:
        connection.send(request("POST", PREDICT, b"x" * 30_000_000))

        assert connection.reply().status == 413
        assert connection.is_closed()


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_limit_counts_packed_bytes(door: Door, size: int) -> None:
    """What gzip unpacks to has a limit of its own."""
    body = gzip.compress(b" " * 100_000 + BODY).ljust(size, b"\0")
    with door.connect() as connection:
        reply = connection.ask(request("POST", PREDICT, body, "Content-Encoding: gzip"))

    assert reply.status == (200 if size == LIMIT else 413)


@pytest.mark.parametrize(
    ("target", "status", "named"),
    [
        pytest.param("/v1/models/no?query=value", 404, "model no?query=value", id="case_Q6-query"),
        pytest.param("/v1/models/no#fragment", 404, "model no#fragment", id="case_Q6-fragment"),
        ("/v1/models/no?a=b#fragment?", 404, "model no?a=b#fragment?"),
        ("/v1/models/no?", 404, "model no?"),
        ("/v1/models/h2:predict?#", 400, "GET /v1/models/h2:predict?#"),
        ("http://elsewhere/v1/models/no", 404, "model no"),
        ("http://elsewhere/v1/models/no?x", 404, "model no?x"),
    ],
)
def test_a_target_is_seen_as_it_was_sent(door: Door, target: str, status: int, named: str) -> None:
    """With query and fragment, which many servers take off."""
    with door.connect() as connection:
        reply = connection.ask(request("GET", target))

    assert reply.status == status
    assert reply.error.endswith(named)


@pytest.mark.parametrize("length", [65_535, 65_536, 500_000])
def test_a_target_may_be_longer_than_64_kib(door: Door, length: int) -> None:
    """Only the head as a whole has a limit."""
    name = "n" * length
    with door.connect() as connection:
        answers = [
            connection.ask(request("GET", f"/v1/models/{name}")),
            connection.ask(request("POST", f"/v1/models/{name}:predict", BODY)),
            connection.ask(GOOD),
        ]

    assert [answer.status for answer in answers] == [404, 404, 200]
    assert answers[0].error == f"Could not find any versions of model {name}"
    assert answers[1].error == f"Servable not found for request: Latest({name})"


@pytest.mark.parametrize("target", ["elsewhere:443", "/v1/models/h2:predict"])
@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_methods_for_proxies_are_not_implemented(door: Door, method: str, target: str) -> None:
    """Whatever they name; CONNECT names a host, where others have a path."""
    if method == "TRACE" and not target.startswith("/"):
        target = f"http://{target}/"
    with door.connect() as connection:
        reply = connection.ask(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        assert (reply.status, reply.headers["content-type"]) == (501, "text/html")
        assert b"<H1>Not Implemented</H1>" in reply.body
        assert connection.is_closed()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no request line"),
        pytest.param(b"GET /a b HTTP/1.1\r\n\r\n", id="blank in the target"),
        pytest.param("GET /v1/models/ü HTTP/1.1\r\nHost: x\r\n\r\n".encode(), id="target beyond ASCII"),
        pytest.param(b"GET / HTTP/9\r\n\r\n", id="version"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", id="NUL in a name"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", id="NUL in a value"),
        pytest.param(request("POST", PREDICT, BODY, "Content-Length: 3"), id="two lengths"),
        pytest.param(request("POST", PREDICT, BODY, "Transfer-Encoding: chunked"), id="length and chunks"),
        pytest.param(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: -1\r\n\r\n".encode(), id="negative length"),
        pytest.param(
            f"POST {PREDICT} HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".encode(), id="endless length"
        ),
        pytest.param(CHUNKED + b"xyz\r\n", id="chunk size"),
        pytest.param(b"GET http://[x HTTP/1.1\r\n\r\n", id="broken host"),
        pytest.param(b"GET http://x:99999/v1/models/h2 HTTP/1.1\r\n\r\n", id="port beyond all ports"),
    ],
)
def test_what_is_no_http_gets_a_page_and_the_connection_ends(door: Door, content: bytes) -> None:
    """As TensorFlow Serving's HTTP library does it; nothing of it reaches a version, and others go on."""
    with door.connect() as connection, door.connect() as other:
        reply = connection.ask(content)

        assert (reply.status, reply.headers["content-type"]) == (400, "text/html")
        assert reply.headers["connection"] == "close"
        assert connection.is_closed()
        assert other.ask(GOOD).status == 200
    assert door.bodies == [BODY]


def test_requests_before_nonsense_get_their_answers_first(door: Door) -> None:
    """A client that pipelines must be able to tell which of its requests was wrong."""
    gate = _hold(door)
    with door.connect() as connection:
        connection.send(GOOD + GOOD + b"nonsense\r\n\r\n")
        wait_until(lambda: len(door.bodies) == 1, "the first request is on its way")
        gate()

        assert [connection.reply().status for _ in range(3)] == [200, 200, 400]
        assert connection.is_closed()


def test_a_broken_body_behind_a_good_request_spoils_only_itself(door: Door) -> None:
    """Its chunk has no size; the request before it is answered."""
    gate = _hold(door)
    with door.connect() as connection:
        connection.send(GOOD + chunked("POST", PREDICT, BODY).replace(b"0\r\n\r\n", b"zz\r\n\r\n"))
        wait_until(lambda: len(door.bodies) == 1, "the first request is on its way")
        gate()

        assert [connection.reply().status for _ in range(2)] == [200, 400]
        assert connection.is_closed()
    assert door.bodies == [BODY]


def _hold(door: Door) -> Callable[[], None]:
    """Keep calls waiting until the result is called."""

    async def hold() -> None:
        door.transport.hold()

    door.loop.run(hold()).result(60)
    return lambda: door.loop.run(_set(door.transport)).result(60)


@pytest.mark.parametrize(
    ("endless", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nA: ", 431, id="value"),
        pytest.param(b"GET / HTTP/1.1\r\n", 431, id="name"),
        pytest.param(b"GET /", 414, id="target"),
        pytest.param(chunked("POST", PREDICT, b"x").removesuffix(b"\r\n") + b"A: ", 431, id="trailer"),
        pytest.param(CHUNKED + b"1;", 431, id="chunk extension"),
    ],
)
def test_headers_without_end_are_cut_off(door: Door, endless: bytes, status: int) -> None:
    """One client must not take the memory of all; it may send on and still sees the answer."""
    with door.connect() as connection:
        connection.send(endless)
        seen = connection.ask(b"a" * 2 * ConnectionLimits().head)

        assert (seen.status, seen.headers["connection"]) == (status, "close")
        assert connection.is_closed()


def test_large_headers_are_taken(door: Door) -> None:
    """Proxies add a lot; there is no need to be strict."""
    with door.connect() as connection:
        headers = [f"X-{number}: {'a' * 1000}" for number in range(500)]

        assert connection.ask(request("POST", PREDICT, BODY, *headers)).status == 200


UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
OFFERS = {
    "body": request("POST", PREDICT, BODY, *UPGRADE),
    "chunks": chunked("POST", PREDICT, BODY).replace(b"Host: x", "\r\n".join(("Host: x", *UPGRADE)).encode()),
    "no body": request("GET", "/v1/models/h2", b"", *UPGRADE),
}


@pytest.mark.parametrize("size", [1, 50, 100_000])
@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_an_upgrade_that_is_not_offered_is_ignored(door: Door, offer: bytes, size: int) -> None:
    """Some clients offer HTTP/2 with their first request, and go on with HTTP/1.1 when they get no answer to that."""
    content = GOOD + offer + GOOD + offer + offer + GOOD
    with door.connect() as connection:
        for start in range(0, len(content), size):
            connection.send(content[start : start + size])
        statuses = [connection.reply().status for _ in range(6)]

    assert statuses == [200] * 6
    assert door.bodies == [BODY] * (3 if offer.startswith(b"GET") else 6)


def test_a_body_is_never_changed(door: Door) -> None:
    """Whatever it looks like, and in whichever pieces it comes."""
    body = b"1\r\nUpgrade: h2c\r\n\r\nUPGRADE: x"
    content = request("POST", PREDICT, body)
    with door.connect() as connection, door.connect() as other:
        assert connection.ask(content).status == 200
        connection.send(content[: -len(body)])
        assert other.ask(GOOD).status == 200  # so the head was parsed before the body came
        assert connection.ask(body).status == 200

    assert door.bodies == [body, BODY, body]


@pytest.mark.parametrize("sent", [len(GOOD) // 4, len(GOOD) - 1])
def test_a_client_that_goes_while_it_sends_leaves_nothing(door: Door, sent: int) -> None:
    """Neither a call nor an open connection."""
    with door.connect() as connection:
        connection.send(GOOD[:sent])
    with door.connect() as other:
        assert other.ask(GOOD).status == 200

    assert door.bodies == [BODY]


def test_http_1_0_ends_its_connection(door: Door) -> None:
    """As old clients expect."""
    with door.connect() as connection:
        reply = connection.ask(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"))

        assert reply.status == 200
        assert connection.is_closed()


def test_http_1_0_may_ask_for_its_connection_to_stay(door: Door) -> None:
    """Load generators do; the answer says that it stays."""
    asked = request("POST", PREDICT, BODY, "Connection: Keep-Alive").replace(b"HTTP/1.1", b"HTTP/1.0")
    with door.connect() as connection:
        replies = [connection.ask(content) for content in (asked, asked.replace(b"h2", b"no"), asked, GOOD)]

    assert [reply.status for reply in replies] == [200, 404, 200, 200]
    assert [reply.headers.get("connection") for reply in replies] == ["keep-alive", "keep-alive", "keep-alive", None]


def test_http_1_0_is_told_when_its_connection_ends_nevertheless(door: Door) -> None:
    """After pages of the HTTP layer, for example."""
    asked = b"GET /nowhere HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    with door.connect() as connection:
        assert connection.ask(asked).headers["connection"] == "close"
        assert connection.is_closed()
