"""Hostile requests of the Open Inference Protocol against a running server: the right status, JSON, and it lives."""

from __future__ import annotations

import gzip
import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from core.versions.servable import DEPLOYMENT
from deployments.versions.serve_host import ROUTER_APP
from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, Reply, wait_until
from tests.support.doors.raw_http import RawConnection, request
from tests.support.hostile_inferences import (
    GOOD,
    INFER,
    MISTAKE,
    MODEL,
    MODEL_INFER,
    PLAIN,
    WORDS,
    HostilePost,
    hostile_calls,
    hostile_posts,
    is_error,
    random_calls,
    random_posts,
)
from tests.support.processes import replica_pids

SEED = 20261129
AT_A_TIME = 32
LONGEST_DETAILS = 1024 + len("...TRUNCATED")
MOST_MEGABYTES = 1500
REFUSED = {400, 404}


@pytest.fixture
def lives(server: LiveServer) -> Iterator[None]:
    """The same processes live after a test, within their bounds of memory, and others were answered all the time."""
    before = processes()
    assert len(before) == 3
    with ClosedLoop(server.rest_port, "/v1/models/half_plus_three:predict", {"instances": [2.0]}) as others:
        yield
        wait_until(lambda: others.count > 0, "others are answered")
    assert others.failures == []
    assert processes() == before
    assert {name: peak_megabytes(pid) for pid, name in before.items() if peak_megabytes(pid) > MOST_MEGABYTES} == {}


def processes() -> dict[int, str]:
    """Return the processes that see a client's bytes: the router, and the servers of the models that are asked."""
    watched = ((ROUTER_APP, "Router"), (f"{MODEL}:1", DEPLOYMENT), (f"{WORDS}:1", DEPLOYMENT))
    return {pid: app for app, deployment in watched for pid in replica_pids(app, deployment)}


def peak_megabytes(pid: int) -> int:
    """Read how much memory a process has had at most."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


def is_right(reply: Reply, status: int) -> bool:
    """Whether an answer has this status, and the protocol's form if it is an error."""
    if reply.status != status:
        return False
    return status == 200 or (reply.headers["content-type"] == "application/json" and is_error(reply.body))


def faults(port: int, one: HostilePost) -> str | None:
    """Send a request on a connection of its own, then a good one; returns what is wrong with the answers."""
    with RawConnection(port) as connection:
        reply = connection.ask(one.content)
        framed = one.ends and reply.status in {400, 417}
        if not (reply.status == one.status if framed else is_right(reply, one.status)):
            return f"{one.what}: {reply.status} {reply.body[:200]!r}"
        if one.ends:
            return None if connection.is_closed() else f"{one.what}: the connection lives"
        then = connection.ask(request("POST", INFER, GOOD))
        return None if then.status == 200 else f"{one.what}: then {then.status}"


@pytest.mark.usefixtures("lives")
def test_hostile_posts_get_their_status_in_json_and_the_connection_lives(server: LiveServer) -> None:
    """Whatever is wrong with a request, its connection takes the next one, where HTTP allows that."""
    wrong = [faults(server.rest_port, one) for one in hostile_posts()]

    assert [one for one in wrong if one is not None] == []


@pytest.mark.usefixtures("lives")
def test_hostile_calls_get_the_code_of_their_mistake(server: LiveServer) -> None:
    """No call is answered as a defect of ours; its text is short, however much was sent."""
    wrong = []
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=options) as channel:
        for one in hostile_calls():
            error = channel.unary_unary(MODEL_INFER).future(one.body, timeout=60).exception()
            code = "OK" if error is None else error.code().name
            if code != one.code or (error is not None and len(error.details()) > LONGEST_DETAILS):
                wrong.append((one.what, code, error and error.details()))

    assert wrong == []


@pytest.mark.usefixtures("lives")
def test_random_posts_are_answered_or_refused(server: LiveServer) -> None:
    """Whatever bytes a body has, nothing is a defect of ours."""
    wrong = []
    with RawConnection(server.rest_port) as connection:
        for body in random_posts(SEED, 1500):
            reply = connection.ask(body)
            if reply.status != 200 and (reply.status not in REFUSED or not is_error(reply.body)):
                wrong.append((body, reply.status, reply.body[:200]))

    assert wrong == []


@pytest.mark.usefixtures("lives")
def test_random_calls_are_answered_or_refused(server: LiveServer) -> None:
    """Whatever bytes a message has, nothing is a defect of ours."""
    wrong = []
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        requests = random_calls(SEED, 1500)
        while bodies := list(itertools.islice(requests, AT_A_TIME)):
            calls = [channel.unary_unary(MODEL_INFER).future(body, timeout=60) for body in bodies]
            errors = [call.exception() for call in calls]
            wrong += [
                (body, error.code(), error.details())
                for body, error in zip(bodies, errors, strict=True)
                if error is not None and error.code().name not in {MISTAKE, "NOT_FOUND"}
            ]

    assert wrong == []


@pytest.mark.usefixtures("lives")
def test_pipelined_requests_are_answered_in_order_each_by_its_own(server: LiveServer) -> None:
    """A refused request does not disturb those before and behind it, of either protocol."""
    good = [request("POST", INFER, GOOD[:-1] + b',"id":"%d"}' % number) for number in range(20)]
    bad = request("POST", INFER, b"{")
    with RawConnection(server.rest_port) as connection:
        connection.send(b"".join(one + bad for one in good))
        replies = [connection.reply() for _ in range(2 * len(good))]

    assert [one.json["id"] for one in replies[::2]] == [str(number) for number in range(20)]
    assert {one.status for one in replies[1::2]} == {400}


@pytest.mark.usefixtures("lives")
def test_large_answers_keep_their_place_in_a_pipeline(server: LiveServer) -> None:
    """Raw and packed ones, which are finished beside the connection, among small and refused ones."""
    raw = np.arange(300_000, dtype=np.float32)
    head = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[300000],"parameters":{"binary_data_size":1200000}}]'
    told = head + b',"parameters":{"binary_data_output":true}}'
    length = f"Inference-Header-Content-Length: {len(told)}"
    large = request("POST", INFER, told + raw.tobytes(), length)
    packed = request("POST", INFER, told + raw.tobytes(), length, "Accept-Encoding: gzip")
    bad = request("POST", INFER, b"{")
    with RawConnection(server.rest_port) as connection:
        sender = threading.Thread(target=connection.send, args=((large + bad + packed + bad) * 3,), daemon=True)
        sender.start()
        replies = [connection.reply() for _ in range(12)]
        sender.join(60)

    assert [one.status for one in replies] == [200, 400] * 6
    assert [one.headers.get("content-encoding") for one in replies[::4]] == [None] * 3
    bodies = [one.body for one in replies[::4]] + [gzip.decompress(one.body) for one in replies[2::4]]
    for body in bodies:
        assert np.array_equal(np.frombuffer(body[-raw.nbytes :], np.float32), raw * np.float32(0.5) + np.float32(2.0))


@pytest.mark.usefixtures("lives")
def test_clients_that_vanish_in_a_request_disturb_nobody(server: LiveServer) -> None:
    """A body that is cut, by an orderly end or by a reset, is forgotten with its connection."""
    whole = request("POST", INFER, GOOD)
    for cut in range(1, len(whole), 7):
        with RawConnection(server.rest_port) as connection:
            connection.send(whole[:cut])
            if cut % 2:
                connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.usefixtures("lives")
def test_a_body_that_comes_byte_by_byte_is_answered(server: LiveServer) -> None:
    """With `Expect: 100-continue`, after the interim answer."""
    head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    with RawConnection(server.rest_port) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert connection.ask(head.encode()).status == 100
        for one in GOOD:
            connection.send(bytes([one]))
        reply = connection.reply()

    assert reply.json["outputs"][0]["data"] == [2.5, 3.0]


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL}"])
def test_head_is_answered_without_a_body(server: LiveServer, path: str) -> None:
    """As for every page of the server; the connection goes on behind it."""
    with RawConnection(server.rest_port) as connection:
        reply = connection.ask(request("HEAD", path), "HEAD")
        then = connection.ask(request("POST", INFER, GOOD))

    assert (reply.status, then.status) == (200, 200)


def test_a_plain_call_is_answered(server: LiveServer) -> None:
    """The call that the hostile ones are made of is a good one."""
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        assert channel.unary_unary(MODEL_INFER)(PLAIN, timeout=60)
