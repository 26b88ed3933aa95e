"""Tests of the proof that a port is ours, with real sockets."""

from __future__ import annotations

import contextlib
import http.server
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from deployments.system.port_claim import (
    TOKEN_HEADER,
    TOKEN_METHOD,
    PortTaken,
    claim_grpc,
    claim_http,
    grpc_token,
    has_ipv6,
    http_token,
    is_free,
    port_taken,
    require_free,
    shared_listener,
)

HOST = "127.0.0.1"


def free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def listening(host: str = HOST, port: int = 0) -> Iterator[int]:
    """Listen as a program that shares nothing and says nothing."""
    with socket.socket() as listener:
        listener.bind((host, port))
        listener.listen()
        yield listener.getsockname()[1]


@contextlib.contextmanager
def http_server(headers: dict[str, str]) -> Iterator[int]:
    """Answer every request with these headers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def grpc_server(token: str | None) -> Iterator[int]:
    """Answer the token method, or nothing."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if token is None or details.method != TOKEN_METHOD:
                return None
            return grpc.unary_unary_rpc_method_handler(lambda _, __: token.encode())

    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([Handler()])
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    yield port
    server.stop(None).wait()


def test_a_port_that_nobody_listens_on_is_free() -> None:
    """And stays so: the probe leaves nothing behind."""
    port = free_port()

    assert is_free(HOST, port)
    require_free(HOST, port, "REST")
    assert is_free("", port)
    claim_http(HOST, port, "token")
    claim_grpc(HOST, port, "token")


@pytest.mark.parametrize("host", [HOST, "", "0.0.0.0"])
def test_a_port_on_which_someone_listens_is_taken(host) -> None:
    """On one address or on all; the text names the port and what it was for."""
    with listening() as port:
        assert not is_free(host, port)
        with pytest.raises(PortTaken) as caught:
            require_free(host, port, "gRPC")

    holder = rf"\S+ \(process {os.getpid()}\)"
    text = rf"Port {port} \(gRPC\) is taken by {holder} on this machine; choose another or stop that program\."
    assert re.fullmatch(text, str(caught.value))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


HOLDER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


STARTER = """
import subprocess, sys
subprocess.run(["ray::ServeReplica:router:Router", "-u", sys.argv[1]], executable=sys.executable)
"""


@contextlib.contextmanager
def held_by(*command: str | Path, executable: str | None = None) -> Iterator[tuple[int, int]]:
    """A program that listens; gives its port and its process id."""
    with subprocess.Popen(
        command, executable=executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process.pid
        process.communicate()


@pytest.fixture
def holder(tmp_path: Path) -> Path:
    """A script that listens on a port."""
    (tmp_path / "holder.py").write_text(HOLDER)
    return tmp_path / "holder.py"


def test_the_holder_of_a_port_is_named_as_people_know_it(holder: Path) -> None:
    """The script, and not the interpreter that runs it; a port without a listener has no holder to name."""
    with held_by(sys.executable, "-u", holder) as (port, process):
        assert f"is taken by holder.py (process {process}) on this machine; choose" in str(port_taken(port, "REST"))

    assert "is taken by another program on this machine" in str(port_taken(free_port(), "REST"))


def test_a_router_is_named_by_the_program_that_started_its_server(holder: Path, tmp_path: Path) -> None:
    """A person has never heard of Ray's worker, and stopping it would only start another one."""
    starter = tmp_path / "ray_model_server"
    starter.write_text(STARTER)

    with held_by(sys.executable, starter, holder) as (port, process):
        assert f"taken by ray_model_server (process {process}) on this machine; choose" in str(port_taken(port, "REST"))


def test_a_router_of_make_serve_is_named_by_that(holder: Path, tmp_path: Path) -> None:
    """The module that it runs is not what a person typed."""
    (tmp_path / "deployments.launch.serve_run").write_text(STARTER)

    with held_by(sys.executable, tmp_path / "deployments.launch.serve_run", holder) as (port, process):
        assert f"taken by make serve (process {process}) on this machine; choose" in str(port_taken(port, "REST"))


def test_a_router_that_nobody_is_above_may_be_taken_over(holder: Path) -> None:
    """On a cluster routers outlive a launcher that was killed; the text says how to get them back."""
    router = "ray::ServeReplica:router:Router"

    with held_by(router, "-u", holder, executable=sys.executable) as (port, process):
        told = str(port_taken(port, "gRPC"))

    assert told.startswith(
        f"Port {port} (gRPC) is taken by {router} (process {process}) on this machine; if its server"
    )
    assert "start it again with the same address to take it over" in told


def test_a_shared_port_is_not_free_while_a_sibling_listens() -> None:
    """Sharing would let another server in, so the question is asked without it."""
    with shared_listener(HOST, 0) as one:
        one.listen()
        port = one.getsockname()[1]

        assert not is_free(HOST, port)
        with shared_listener(HOST, port) as other:
            other.listen()
            assert other.getsockname()[1] == port


def test_a_port_of_all_interfaces_is_one_socket() -> None:
    """It takes IPv4 clients too, where there is IPv6."""
    with shared_listener("", 0) as listener:
        listener.listen()
        with socket.create_connection((HOST, listener.getsockname()[1]), timeout=60):
            assert listener.family == (socket.AF_INET6 if has_ipv6() else socket.AF_INET)


def test_a_machine_without_ipv6_listens_on_ipv4(monkeypatch) -> None:
    """The wildcard then is that of IPv4."""
    monkeypatch.setattr("deployments.system.port_claim.has_ipv6", lambda: False)

    with shared_listener("", 0) as listener:
        assert listener.family == socket.AF_INET


def test_ipv6_is_missing_where_it_cannot_be_bound(monkeypatch) -> None:
    """Containers often have none."""

    def refuse(*_: object) -> socket.socket:
        raise OSError("Address family not supported")

    monkeypatch.setattr(socket, "socket", refuse)

    assert not has_ipv6()


def test_a_port_that_cannot_be_bound_for_another_reason_says_so() -> None:
    """An address that is not of this machine is no conflict."""
    with pytest.raises(OSError, match="assign"):
        is_free("192.0.2.1", free_port())
    with pytest.raises(OSError, match="assign"):
        shared_listener("192.0.2.1", free_port())


def test_whoever_listens_is_asked_for_the_token_over_http() -> None:
    """A sibling knows it; others say nothing or something else."""
    with http_server({TOKEN_HEADER: "ours"}) as port:
        assert http_token(HOST, port) == "ours"
        assert http_token("", port) == "ours"
        claim_http(HOST, port, "ours")
        with pytest.raises(PortTaken):
            claim_http(HOST, port, "another")
    with http_server({}) as port:
        assert http_token(HOST, port) == ""
        with pytest.raises(PortTaken):
            claim_http(HOST, port, "ours")
    assert http_token(HOST, free_port()) is None


def test_whoever_listens_is_asked_for_the_token_over_grpc() -> None:
    """A sibling knows it; others do not know the method."""
    with grpc_server("ours") as port:
        assert grpc_token(HOST, port) == "ours"
        claim_grpc(HOST, port, "ours")
        with pytest.raises(PortTaken):
            claim_grpc(HOST, port, "another")
    with grpc_server(None) as port, pytest.raises(PortTaken):
        claim_grpc(HOST, port, "ours")
    assert grpc_token(HOST, free_port()) is None


def test_a_program_that_does_not_answer_is_another_program(monkeypatch) -> None:
    """It may speak another protocol, or hang."""
    monkeypatch.setattr("deployments.system.port_claim.ANSWER_TIMEOUT_S", 0.05)

    with listening() as port:
        assert http_token(HOST, port) == ""
        assert grpc_token(HOST, port) == ""
