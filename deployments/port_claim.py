"""Proof that a port is ours before it is shared.

Router replicas of one node share their ports with SO_REUSEPORT, and the kernel would as readily share them with a
second, foreign server of the same user, which would then silently get half of the requests. So a port is first bound
alone; when that fails, whoever answers on it must show the token of this very application.
"""

from __future__ import annotations

import errno
import http.client
import socket

import grpc

from core.errors import FailedPrecondition

TOKEN_METHOD = "/ray_model_server.Door/Token"  # noqa: S105 - a method name
TOKEN_HEADER = "x-app"  # noqa: S105 - a header name
ANSWER_TIMEOUT_S = 2.0


class PortTaken(FailedPrecondition):
    """Another program listens on the port."""

    def __init__(self, port: int, what: str) -> None:
        Exception.__init__(self, port, what)

    def __str__(self) -> str:
        port, what = self.args
        return f"Port {port} ({what}) is taken by another program on this machine; choose another or stop that program."


def require_free(host: str, port: int, what: str) -> None:
    """Bind the port alone for a moment.

    Raises PortTaken.
    """
    if not is_free(host, port):
        raise PortTaken(port, what)


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody, not even a sibling, has bound the port."""
    family, address = _address(host, port)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    if not host:
        return (socket.AF_INET6, ("::", port)) if has_ipv6() else (socket.AF_INET, ("0.0.0.0", port))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, (host, port)


def has_ipv6() -> bool:
    """Tell whether this machine can bind the IPv6 wildcard address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def shared_listener(host: str, port: int) -> socket.socket:
    """Bind a port that sibling replicas may bind too; it does not listen yet."""
    family, address = _address(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and not host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def http_token(host: str, port: int) -> str | None:
    """Ask whoever listens on a REST port for its token; None when nobody listens yet, "" when it has none."""
    connection = http.client.HTTPConnection(host or "localhost", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().headers.get(TOKEN_HEADER, "")
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def grpc_token(host: str, port: int) -> str | None:
    """Ask whoever listens on a gRPC port for its token; None when nobody listens yet, "" when it has none."""
    try:
        socket.create_connection((host or "localhost", port), timeout=ANSWER_TIMEOUT_S).close()
    except OSError:
        return None
    with grpc.insecure_channel(f"{host or 'localhost'}:{port}") as channel:
        ask = channel.unary_unary(TOKEN_METHOD, request_serializer=None, response_deserializer=None)
        try:
            return bytes(ask(b"", timeout=ANSWER_TIMEOUT_S)).decode()
        except grpc.RpcError:
            return ""


def claim_http(host: str, port: int, token: str) -> None:
    """Make sure that a REST port is free or held by siblings only.

    Raises PortTaken.
    """
    if not is_free(host, port) and http_token(host, port) not in {None, token}:
        raise PortTaken(port, "REST")


def claim_grpc(host: str, port: int, token: str, *, is_encrypted: bool = False) -> None:
    """Make sure that a gRPC port is free or held by siblings only.

    A sibling behind TLS cannot be asked without a client certificate; there the launcher's own proof has to do.
    Raises PortTaken.
    """
    if is_encrypted or is_free(host, port):
        return
    if grpc_token(host, port) not in {None, token}:
        raise PortTaken(port, "gRPC")
