"""Hostile bytes against a running server: it answers each with the right code, keeps its memory, and lives."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from core.versions.servable import DEPLOYMENT
from deployments.versions.serve_host import ROUTER_APP
from ray_model_client import Client
from tests.integration.conftest import LiveServer
from tests.support.hostile_requests import EXAMPLES_MODEL, MODEL, monsters, random_requests
from tests.support.processes import replica_pids

SEED = 20260101
AT_A_TIME = 32
MOST_MEGABYTES = 1500
MISTAKES = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = bytes.fromhex("000000040000000000")
NO_HTTP2 = {
    "nothing": b"",
    "HTTP/1.1": b"POST /v1/models/half_plus_two:predict HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "noise": random.Random(SEED).randbytes(100_000),
    "half a preface": PREFACE[:10],
    "preface and noise": PREFACE + random.Random(SEED).randbytes(10_000),
    "a frame of 16 MiB that never comes": PREFACE + SETTINGS + bytes.fromhex("ffffff000000000001") + bytes(1000),
    "data for no stream": PREFACE + SETTINGS + bytes.fromhex("000005000100000007") + b"abcde",
    "headers that are none": PREFACE + SETTINGS + bytes.fromhex("000004010400000001") + b"\xff\xff\xff\xff",
    "pings without end": PREFACE + SETTINGS + bytes.fromhex("0000080600000000000000000000000000") * 10_000,
    "empty settings without end": PREFACE + SETTINGS * 10_000,
}


@pytest.fixture
def channel(server: LiveServer) -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=options) as opened:
        yield opened


def processes() -> dict[int, str]:
    """Return the processes that see a client's bytes: the router, and the servers of the models that are asked."""
    watched = ((ROUTER_APP, "Router"), (f"{MODEL}:1", DEPLOYMENT), (f"{EXAMPLES_MODEL}:123", DEPLOYMENT))
    return {pid: app for app, deployment in watched for pid in replica_pids(app, deployment)}


def peak_megabytes(pid: int) -> int:
    """Read how much memory a process has had at most."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@pytest.fixture
def lives(server: LiveServer) -> Iterator[None]:
    """The same processes live after a test, have not grown beyond their bounds, and answer."""
    before = processes()
    assert len(before) >= 3
    yield
    assert processes() == before
    assert {name: peak_megabytes(pid) for pid, name in before.items() if peak_megabytes(pid) > MOST_MEGABYTES} == {}
    with Client(f"127.0.0.1:{server.grpc_port}", timeout_s=60) as client:
        assert client.predict(MODEL, {"x": 2.0})["y"] == 3.0
        assert client.regress(EXAMPLES_MODEL, [{"x": 2.0}], signature="regress_x_to_y") == [3.0]


def code_of(call: grpc.Future) -> str:
    error = call.exception()
    return "OK" if error is None else error.code().name


@pytest.mark.usefixtures("lives")
def test_random_and_broken_requests_get_the_code_of_a_mistake(channel: grpc.Channel) -> None:
    """No request is answered as a defect of ours, and none is left without an answer."""
    wrong = []
    requests = list(random_requests(SEED, 2000))
    for first in range(0, len(requests), AT_A_TIME):
        some = requests[first : first + AT_A_TIME]
        calls = [channel.unary_unary(method).future(body, timeout=60) for method, body in some]
        codes = [code_of(call) for call in calls]
        wrong += [(code, *one) for code, one in zip(codes, some, strict=True) if code not in MISTAKES | {"OK"}]

    assert wrong == []


@pytest.mark.usefixtures("lives")
def test_monsters_get_the_code_of_their_mistake(channel: grpc.Channel) -> None:
    """However much a request claims or repeats, it costs no more than some times its own size."""
    wrong = {}
    for name, method, body, expected in monsters():
        code = code_of(channel.unary_unary(method).future(body, timeout=60))
        if code != expected:
            wrong[name] = code

    assert wrong == {}


@pytest.mark.usefixtures("lives")
@pytest.mark.parametrize("name", NO_HTTP2)
def test_bytes_that_are_no_http2_harm_only_their_own_connection(server: LiveServer, name) -> None:
    """Whoever speaks another protocol, or HTTP/2 wrongly, is sent away."""
    with socket.create_connection(("127.0.0.1", server.grpc_port), timeout=2) as stranger, suppress(OSError):
        stranger.sendall(NO_HTTP2[name])
        stranger.shutdown(socket.SHUT_WR)
        while stranger.recv(65536):
            pass
