"""What one REST connection may cost others: memory, turns of the event loop, and time without progress."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from core.errors import Code
from core.rest.connection_limits import ConnectionLimits
from core.routing.transport import Answer
from deployments.rest import protocol as rest_protocol
from tests.support.clients import wait_until
from tests.support.doors.door_sites import ScriptedTime
from tests.support.doors.raw_http import RawConnection, chunked, request
from tests.support.doors.rest_sites import RestSite, rest_site

PREDICT = "/v1/models/m:predict"
BODY = b'{"instances": [1.0]}'
GOOD = request("POST", PREDICT, BODY)
STATUS = request("GET", "/v1/models/m")
PATIENT_S = 200.0


@contextmanager
def connected(site: RestSite) -> Iterator[RawConnection]:
    """Connect with small buffers for answers at both ends, so that few of them are enough to fill them."""
    with site.connect() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        servers_end = the_connection(site, 0).transport.get_extra_info("socket")
        servers_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        yield connection


def send_until_reading_stops(site: RestSite, connection: RawConnection, content: bytes, most: int) -> None:
    """Send until the server takes no more, and says why: it waits for its answers to be taken.

    That a send blocks is not enough: on a busy machine the server may just be slower than the client. Nor is the end
    of this the last word of the server: the kernel may still find room for an answer, and with it a few requests.
    """
    connection.socket.settimeout(0.2)
    sent = 0
    deadline_s = time.monotonic() + PATIENT_S
    has_stopped = False
    while not has_stopped:
        assert sent < most
        assert time.monotonic() < deadline_s
        try:
            sent += connection.socket.send(content)
        except TimeoutError:
            has_stopped = all(one.flow.is_shut and one.flow.write_paused for one in site.connections)
    connection.socket.settimeout(PATIENT_S)


def the_connection(site: RestSite, received: int) -> Any:
    """Return the only connection when it has received so many bytes, or more where it rewrites line ends."""

    def has_received() -> bool:
        made = [one for one in site.connections if hasattr(one, "_timer")]  # which is what it gets last
        return [one._fed + one._unparsed.size >= received for one in made] == [True]

    wait_until(has_received, f"{received} bytes have come")
    (protocol,) = site.connections
    return protocol


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        pytest.param(STATUS, None, id="status"),
        pytest.param(GOOD, None, id="predict"),
        pytest.param(GOOD, Answer(Code.OK, b"x" * 300_000), id="large answers"),
    ],
)
def test_reading_stops_while_answers_are_not_taken(content: bytes, answer: Answer | None) -> None:
    """What was sent ahead stays in the client's own buffers; all of it is answered in order when it is taken."""
    with rest_site(answer) as site, connected(site) as connection:
        block = content * (256 * 1024 // len(content))
        send_until_reading_stops(site, connection, block, 400 * len(block))
        (protocol,) = site.connections
        kept = protocol._unparsed.size + protocol.transport.get_write_buffer_size()

        assert kept < 1024 * 1024
        assert not protocol.pipeline
        assert [connection.reply().status for _ in range(5)] == [200] * 5
        with site.connect() as other:
            assert other.ask(GOOD).status == 200


def test_a_request_is_parsed_when_the_one_before_it_is_answered() -> None:
    """However many come in one read: none but the first is begun."""
    with rest_site() as site, site.connect() as connection:
        release = site.hold()
        connection.send(GOOD * 100)
        wait_until(lambda: len(site.bodies) == 1, "the first request is on its way")
        (protocol,) = site.connections
        waiting = len(site.bodies), len(protocol.pipeline), protocol._unparsed.size
        release()

        assert waiting == (1, 0, 99 * len(GOOD))
        assert [connection.reply().status for _ in range(100)] == [200] * 100


def test_a_client_that_goes_is_noticed_although_it_has_sent_ahead() -> None:
    """A few requests do not stop reading, and with it the end of the connection."""
    with rest_site() as site:
        release = site.hold()
        with site.connect() as connection:
            connection.send(GOOD * 5)
            wait_until(lambda: len(site.bodies) == 1, "the first request is on its way")
        wait_until(lambda: not site.connections, "the connection has gone")
        release()

        assert len(site.bodies) == 1


def test_a_turn_of_the_event_loop_parses_few_chunks() -> None:
    """Chunks of one byte by the thousand leave turns to others."""
    limits = ConnectionLimits(turn_pieces=10)
    body = b"1" * 5000
    with rest_site(limits=limits) as site, site.connect() as connection:
        turns = 0
        connection.send(chunked("POST", PREDICT, b"1"))
        assert connection.reply().status == 200
        (protocol,) = site.connections
        go_on = protocol._go_on

        def counted() -> None:
            nonlocal turns
            turns += 1
            go_on()

        protocol._go_on = counted
        reply = connection.ask(chunked("POST", PREDICT, *(body[at : at + 1] for at in range(len(body)))))

        assert reply.status == 200
        assert site.bodies[-1] == body
        assert turns > len(body) * 6 // limits.largest_piece


def test_tiny_chunks_are_followed_by_a_rest() -> None:
    """They would keep a CPU busy; chunks of any usual size are not held up, nor is another connection."""
    limits = ConnectionLimits(turn_pieces=10, rest_s=PATIENT_S * 2)
    with rest_site(limits=limits) as site, site.connect() as tiny, site.connect() as usual:
        tiny.send(chunked("POST", PREDICT, *[b"1"] * 100))
        wait_until(lambda: any(one._later is not None for one in site.connections), "the connection rests")

        assert usual.ask(chunked("POST", PREDICT, *[b"1" * 17] * 100)).status == 200
        assert usual.ask(GOOD).status == 200
        assert site.bodies == [b"1" * 1700, BODY]
        (resting,) = [one for one in site.connections if one._later is not None]
        assert resting._unparsed.size > 0


def test_a_turn_of_the_event_loop_drops_few_empty_lines() -> None:
    """A client that sends nothing else leaves turns to others, and is refused when they are as long as a head may be."""
    limits = ConnectionLimits(head=10_000, least_piece=100, largest_piece=100, turn_pieces=4)
    with rest_site(limits=limits) as site, site.connect() as connection, site.connect() as other:
        assert connection.ask(b"\r\n" * 1000 + GOOD).status == 200
        (protocol,) = [one for one in site.connections if one._answers]
        most = 0
        go_on = protocol._go_on

        def watched() -> None:
            nonlocal most
            before = protocol._fed
            go_on()
            most = max(most, protocol._fed - before)

        protocol._go_on = watched

        assert connection.ask(b"\r\n" * 10_000).status == 431
        assert 0 < most <= limits.turn_heads * limits.largest_piece
        assert connection.is_closed()
        assert other.ask(GOOD).status == 200


def test_large_chunks_go_through_in_large_pieces() -> None:
    """A body in chunks of usual sizes costs few pieces."""
    body = bytes(200_000)
    with rest_site() as site, site.connect() as connection:
        assert (
            connection.ask(
                chunked("POST", PREDICT, *(body[at : at + 20_000] for at in range(0, 200_000, 20_000)))
            ).status
            == 200
        )
        (protocol,) = site.connections

        assert site.bodies == [body]
        assert protocol._piece == ConnectionLimits().largest_piece


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        pytest.param(b"", None, id="nothing"),
        pytest.param(GOOD, None, id="nothing after an answer"),
        pytest.param(b"\r\n" * 3, None, id="empty lines"),
        pytest.param(b"GET /v1/mod", 408, id="half a request line"),
        pytest.param(b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n", 408, id="half a head"),
        pytest.param(GOOD + b"GET /v1/models/m HTTP/1.1\r\nHost: x\r\n", 408, id="half a head after an answer"),
        pytest.param(b"GET /v1/models/m HTTP/1.1\nHost: x\n", 408, id="half a head with LF"),
        pytest.param(GOOD[:-5], 408, id="half a small body"),
        pytest.param(GOOD + GOOD[:-5], 408, id="half a small body after an answer"),
        pytest.param(request("POST", PREDICT, bytes(100_000))[:-5], 408, id="half a large body"),
        pytest.param(request("POST", PREDICT).replace(b": 0", b": 2000000000"), 408, id="nothing of a huge body"),
        pytest.param(chunked("POST", PREDICT, BODY)[:-5], 408, id="no last chunk"),
        pytest.param(request("GET", "/healthz", bytes(100))[:-5], None, id="half a body that nobody wants"),
    ],
)
def test_what_comes_to_no_end_is_ended(begun: bytes, status: int | None, monkeypatch) -> None:
    """A head and a body in time, or 408; a connection that asks for nothing is closed without a word."""
    monkeypatch.setattr(rest_protocol, "LINGER_S", 0.1)
    with rest_site() as site, site.connect() as connection:
        connection.send(begun)
        if begun.startswith((GOOD, b"GET /healthz")):
            assert connection.reply().status == 200
        protocol = the_connection(site, len(begun))

        ScriptedTime(protocol, site.loop).passes(100.0)

        if status is not None:
            reply = connection.reply()
            assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert connection.is_closed()
        wait_until(lambda: not site.connections and site.is_idle, "nothing is left of it")


def test_a_slow_body_that_makes_progress_is_waited_for() -> None:
    """It takes several times as long as it may stand still."""
    body = BODY.ljust(200)
    limits = ConnectionLimits(least_body=10)
    head = request("POST", PREDICT, body)[: -len(body)]
    with rest_site(limits=limits) as site, site.connect() as connection:
        connection.send(head)
        time = ScriptedTime(the_connection(site, len(head)), site.loop)
        for at in range(0, len(body) - 10, 10):
            connection.send(body[at : at + 10])
            the_connection(site, len(head) + at + 10)
            time.passes(0.9 * limits.body_s)
        connection.send(body[-10:])

        assert connection.reply().status == 200


@pytest.mark.parametrize("content", [GOOD, request("POST", PREDICT, b" " * 100_000), GOOD + GOOD, GOOD + GOOD[:-3]])
def test_a_connection_that_waits_for_an_answer_is_never_ended(content: bytes) -> None:
    """However long the model takes; what else its client has begun has time, too."""
    with rest_site() as site, site.connect() as connection:
        release = site.hold()
        connection.send(content)
        protocol = the_connection(site, len(content))
        wait_until(lambda: len(site.bodies) == 1, "the model works")
        ScriptedTime(protocol, site.loop).passes(10_000.0)
        release()

        assert connection.reply().status == 200


def test_an_answer_that_nobody_takes_is_dropped() -> None:
    """Its memory is free again."""
    limits = ConnectionLimits(unread_s=0.3, look_s=0.05)
    with rest_site(Answer(Code.OK, bytes(30_000_000)), limits) as site, connected(site) as connection:
        connection.send(GOOD)
        wait_until(lambda: len(site.bodies) == 1, "the answer is being written")

        wait_until(lambda: not site.connections, "the connection is aborted")


def test_an_answer_that_is_taken_slowly_arrives() -> None:
    """A client that takes some of it now and then is waited for."""
    answer = bytes(9_000_000)
    limits = ConnectionLimits(idle_s=1_000_000.0)
    with rest_site(Answer(Code.OK, answer), limits) as site, connected(site) as connection:
        connection.send(GOOD)
        time = ScriptedTime(the_connection(site, len(GOOD)), site.loop)
        got, piece = 0, b"x"
        while piece and got < len(answer):
            piece = connection.socket.recv(200_000, socket.MSG_WAITALL)
            got += len(piece)
            time.passes(0.9 * limits.unread_s)

        assert got > len(answer)


def test_an_announced_length_takes_no_memory() -> None:
    """Only what has come is kept."""
    with rest_site() as site, site.connect() as connection:
        connection.send(request("POST", PREDICT).replace(b": 0", b": 2000000000") + b"x")
        wait_until(lambda: site.connections and site.connections[0]._in_body, "the head is parsed")
        (protocol,) = site.connections

        assert protocol.body_left >= 2_000_000_000 - 1
        assert len(protocol.cycle.body) <= 1
