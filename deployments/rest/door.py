"""The REST port of one router replica: uvicorn, on the event loop of the router's own ports.

The port is claimed when the replica starts, opened once there is a routing table, and drained when the replica stops:
no new connections, `Connection: close` on every answer, and an end when nothing is in flight.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

import uvicorn

from deployments.config.certificates import Certificates
from deployments.rest.api import HttpApi
from deployments.rest.short_protocol import protocol_factory
from deployments.system.held_ports import held_listener
from deployments.system.port_claim import claim_http, shared_listener
from deployments.system.unix_socket import SocketPath

BACKLOG = 4096
IDLE_CONNECTION_GRACE_S = 1.0
"""How long an idle keep-alive connection may still send a request while the port closes."""


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where REST listens: a TCP port (0 for none) of an interface, and a UNIX socket path (empty for none).

    `held_ports` names the process that holds the port for a lone router.
    """

    host: str
    port: int
    socket_path: str = ""
    ssl_config_file: str = ""
    held_ports: str = ""


class _ServerWithoutSignals(uvicorn.Server):
    """uvicorn without signal handlers: the replica decides when to stop."""

    def install_signal_handlers(self) -> None:
        """Leave the process's signal handlers alone."""


class HttpDoor:
    """The REST port of one router replica."""

    def __init__(self, address: HttpAddress, api: HttpApi, token: str) -> None:
        self._address = address
        self._api = api
        self._token = token
        self._listeners: list[socket.socket] = []
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._socket_path = SocketPath(address.socket_path) if address.socket_path else None
        self._certificates = Certificates(address.ssl_config_file) if address.ssl_config_file else None
        held = held_listener(address.held_ports, address.port)
        self._is_held = held is not None
        if held is not None:
            self._listeners.append(held)
        elif address.port:
            self._claim()
            self._listeners.append(shared_listener(address.host, address.port))

    def _claim(self) -> None:
        tls = None if self._certificates is None else self._certificates.config
        claim_http(self._address.host, self._address.port, self._token, tls)

    async def open(self) -> None:
        """Begin to accept connections; returns when the port is open."""
        if self._address.port and not self._is_held:
            await asyncio.to_thread(self._claim)
        if self._socket_path is not None:
            self._listeners.append(self._socket_path.listener())
        if not self._listeners:
            return
        self._server = _ServerWithoutSignals(self._config())
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(sockets=self._listeners))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)
        if self._serving.done():
            self._serving.result()
        if self._socket_path is not None:
            self._socket_path.publish()

    def _config(self) -> uvicorn.Config:
        certificates = self._certificates
        return uvicorn.Config(
            self._api.app(),
            http=protocol_factory(self._api),
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            log_level=logging.ERROR,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=None,
            ssl_context_factory=None if certificates is None else lambda _, __: certificates.context(),
        )

    async def drain(self, timeout_s: float) -> None:
        """Close the port, wait for requests in flight, and leave idle connections a moment for a last request."""
        self._api.draining = True
        if self._server is None or self._serving is None:
            return
        for server in self._server.servers:
            server.close()
        for listener in self._listeners:
            listener.close()
        ends_at = time.monotonic() + timeout_s
        await self._wait_for_connections(min(ends_at, time.monotonic() + IDLE_CONNECTION_GRACE_S))
        self._server.config.timeout_graceful_shutdown = max(1, int(ends_at - time.monotonic()))
        self._server.should_exit = True
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._serving), max(1.0, ends_at - time.monotonic() + 1.0))
        if self._socket_path is not None:
            self._socket_path.withdraw()

    async def _wait_for_connections(self, ends_at: float) -> None:
        assert self._server is not None  # noqa: S101 - called by drain only
        while self._server.server_state.connections and time.monotonic() < ends_at:
            await asyncio.sleep(0.02)

    def abandon(self) -> None:
        """Release the ports without ever having opened."""
        for listener in self._listeners:
            listener.close()
