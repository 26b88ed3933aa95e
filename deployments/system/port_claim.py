"""Verifies that a port belongs to this application before replicas share it.

Router replicas of one node share their ports with SO_REUSEPORT. The kernel would share them just the same with another
server of the same user, which would then silently get half of the requests. So a port is first bound exclusively. When
that fails, the listener must present the token of this application. Behind TLS with client certificates the token
cannot be requested; there the listener must present the certificate of this server.

A process may have bound the port without listening yet, so a port is claimed when a router starts, and again just
before it listens.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from contextlib import suppress
from typing import Any

import grpc
import psutil

from core.config.parameter_files import SslConfig
from core.errors import FailedPrecondition

TOKEN_METHOD = "/ray_model_server.Door/Token"  # noqa: S105 - a method name
TOKEN_HEADER = "x-app"  # noqa: S105 - a header name
ANSWER_TIMEOUT_S = 2.0
PEM_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


OUR_PROGRAMS = ("ray_model_server", "tensorflow_model_server", "deployments.")
"""Beginnings of the names of programs and modules that start a server."""

KNOWN_AS = {"serve_run": "make serve", "cli": "ray_model_server"}
"""How people start modules of ours, by the last part of their names."""

STOP_IT = "choose another or stop that program."
TAKE_OVER = (
    "if its server was started with --ray_address, start it again with the same address to take it over; "
    "`serve shutdown` on that cluster ends it."
)


class PortTaken(FailedPrecondition):
    """Another program listens on the port."""

    def __init__(self, port: int, what: str, holder: str = "another program", advice: str = STOP_IT) -> None:
        Exception.__init__(self, port, what, holder, advice)

    def __str__(self) -> str:
        port, what, holder, advice = self.args
        return f"Port {port} ({what}) is taken by {holder} on this machine; {advice}"


def require_free(host: str, port: int, what: str) -> None:
    """Bind the port exclusively for a moment.

    Raises PortTaken.
    """
    if not is_free(host, port):
        raise port_taken(port, what)


def port_taken(port: int, what: str) -> PortTaken:
    """Return the error with the program that holds the port, as far as this user may see it.

    A worker of Ray is nothing that a person started: of a server of ours that is the program that started it. Where
    nothing of the kind is above the worker, it belongs to a cluster, on which a server outlives who started it.
    """
    holder = _listener_on(port)
    if holder is None:
        return PortTaken(port, what)
    with suppress(psutil.Error, OSError):
        name = _shown_name(holder)
        if not name.startswith("ray::"):
            return PortTaken(port, what, f"{name} (process {holder.pid})")
        starters = [one for one in holder.parents() if _shown_name(one).startswith(OUR_PROGRAMS)]
        if starters:
            own = _shown_name(starters[-1])
            return PortTaken(port, what, f"{KNOWN_AS.get(own.rpartition('.')[2], own)} (process {starters[-1].pid})")
        return PortTaken(port, what, f"{name} (process {holder.pid})", TAKE_OVER)
    return PortTaken(port, what)


def _listener_on(port: int) -> psutil.Process | None:
    with suppress(psutil.Error, OSError):
        for one in psutil.net_connections("tcp"):
            bound: Any = one.laddr
            if one.status == psutil.CONN_LISTEN and one.pid is not None and bound.port == port:
                return psutil.Process(one.pid)
    return None


def _shown_name(process: psutil.Process) -> str:
    """Return the title that a process gave itself, the script or module that an interpreter runs, or the program."""
    words = [one for one in process.cmdline() if one.strip()]
    if not words or not os.path.basename(words[0]).startswith("python"):
        return os.path.basename(words[0].strip()) if words else process.name()
    if "-c" in words:
        return process.name()
    return os.path.basename(next((one for one in words[1:] if not one.startswith("-")), words[0]))


def is_free(host: str, port: int) -> bool:
    """Whether no process, not even a sibling, has bound the port."""
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


def bracketed(host: str) -> str:
    """Return a host as written before a port."""
    return f"[{host}]" if ":" in host else host


def has_ipv6() -> bool:
    """Whether this machine can bind the IPv6 wildcard address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def shared_listener(host: str, port: int) -> socket.socket:
    """Bind a port that sibling replicas may bind too, without listening yet."""
    family, address = _address(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # Its connections inherit this, so that connections of vanished machines end.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if family == socket.AF_INET6 and not host:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def http_token(host: str, port: int, *, is_encrypted: bool = False) -> str | None:
    """Request the token of the listener on a REST port; None when no process listens yet, "" when it has none."""
    connection = _http_connection(host or "localhost", port, is_encrypted=is_encrypted)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().headers.get(TOKEN_HEADER, "")
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _http_connection(host: str, port: int, *, is_encrypted: bool) -> http.client.HTTPConnection:
    if is_encrypted:
        return http.client.HTTPSConnection(host, port, timeout=ANSWER_TIMEOUT_S, context=_trusting("http/1.1"))
    return http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)


def grpc_token(host: str, port: int) -> str | None:
    """Request the token of the listener on a gRPC port; None when no process listens yet, "" when it has none."""
    try:
        socket.create_connection((host or "localhost", port), timeout=ANSWER_TIMEOUT_S).close()
    except OSError:
        return None
    with grpc.insecure_channel(f"{bracketed(host or 'localhost')}:{port}") as channel:
        ask = channel.unary_unary(TOKEN_METHOD, request_serializer=None, response_deserializer=None)
        try:
            return bytes(ask(b"", timeout=ANSWER_TIMEOUT_S)).decode()
        except grpc.RpcError:
            return ""


def presented_certificate(host: str, port: int, protocol: str) -> bytes | None:
    """Return the certificate of the listener, verified to have its key; None when no process listens, b"" without TLS.

    With TLS 1.3, the handshake gets that far before the server refuses a client without a certificate.
    """
    try:
        with (
            socket.create_connection((host or "localhost", port), timeout=ANSWER_TIMEOUT_S) as plain,
            _trusting(protocol).wrap_socket(plain, server_hostname=host or "localhost") as encrypted,
        ):
            return encrypted.getpeercert(binary_form=True) or b""
    except ConnectionRefusedError:
        return None
    except OSError:
        return b""


def _trusting(protocol: str) -> ssl.SSLContext:
    """Make a TLS context that verifies nothing; the presented certificate is compared afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def own_certificate(tls: SslConfig) -> bytes:
    """Return the server's own certificate, the first of its chain."""
    found = PEM_CERTIFICATE.search(tls.server_cert)
    return b"" if found is None else ssl.PEM_cert_to_DER_cert(found[0])


def claim_http(host: str, port: int, token: str, tls: SslConfig | None = None) -> None:
    """Make sure that a REST port is free or held by siblings only.

    Raises PortTaken.
    """
    if is_free(host, port):
        return
    if tls is not None and tls.client_verify:
        is_sibling = presented_certificate(host, port, "http/1.1") in {None, own_certificate(tls)}
    else:
        is_sibling = http_token(host, port, is_encrypted=tls is not None) in {None, token}
    if not is_sibling:
        raise port_taken(port, "REST")


def claim_grpc(host: str, port: int, token: str, tls: SslConfig | None = None) -> None:
    """Make sure that a gRPC port is free or held by siblings only.

    Raises PortTaken.
    """
    if is_free(host, port):
        return
    if tls is None:
        is_sibling = grpc_token(host, port) in {None, token}
    else:
        is_sibling = presented_certificate(host, port, "h2") in {None, own_certificate(tls)}
    if not is_sibling:
        raise port_taken(port, "gRPC")
