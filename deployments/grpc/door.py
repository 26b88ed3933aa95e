"""The gRPC port of one router replica, on the event loop of the router's own ports.

Plain ports are served by `deployments.grpc.server`. Those with TLS, or with channel arguments, which are options of
gRPC's own library, are served by grpc.aio.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import grpc
from grpc_health.v1 import health_pb2_grpc

from core.config.server_settings import ServerSettings
from core.errors import Unavailable
from core.http2.grpc_messages import LARGEST_MESSAGE_BYTES
from deployments.config.certificates import Certificates
from deployments.grpc.api import GrpcApi
from deployments.grpc.guarded import GuardedServer
from deployments.grpc.health import Health
from deployments.grpc.reflection import add_reflection
from deployments.grpc.server import GrpcServer
from deployments.system.held_ports import held_listener
from deployments.system.port_claim import bracketed, claim_grpc, has_ipv6, shared_listener
from deployments.system.unix_socket import SocketPath

UNIX = "unix:"
CHANNEL_ARGUMENTS: Mapping[str, int | str] = MappingProxyType(
    {
        "grpc.max_receive_message_length": LARGEST_MESSAGE_BYTES,
        "grpc.max_send_message_length": LARGEST_MESSAGE_BYTES,
        "grpc.so_reuseport": 1,
    }
)
"""Defaults below the operator's own arguments."""


@dataclass(frozen=True, slots=True)
class GrpcAddress:
    """Where gRPC listens: a TCP port (0 for none) of an interface, and a UNIX socket path (empty for none).

    `held_ports` names the process that holds the port for a lone router; gRPC's own library cannot take it from there.
    """

    host: str
    port: int
    socket_path: str = ""
    channel_arguments: tuple[tuple[str, int | str], ...] = ()
    ssl_config_file: str = ""
    held_ports: str = ""


def grpc_address(settings: ServerSettings) -> GrpcAddress:
    """Return the gRPC addresses and limits that the settings ask for."""
    door = settings.front_door
    return GrpcAddress(
        door.host,
        door.grpc_port,
        door.grpc_socket_path,
        door.grpc_channel_arguments,
        door.ssl_config_file,
        door.held_ports,
    )


class GrpcDoor:
    """Opens, drains and closes the gRPC port."""

    def __init__(self, address: GrpcAddress, api: GrpcApi, token: str) -> None:
        self._address = address
        self._api = api
        self._token = token
        self._server: grpc.aio.Server | GrpcServer | None = None
        self.health = Health(api.others)
        self._socket_path = SocketPath(address.socket_path) if address.socket_path else None
        self._certificates = Certificates(address.ssl_config_file) if address.ssl_config_file else None
        self._held = held_listener(address.held_ports, address.port)
        if address.port and self._held is None:
            self._claim()

    def _claim(self) -> None:
        tls = None if self._certificates is None else self._certificates.config
        claim_grpc(self._address.host, self._address.port, self._token, tls)

    async def open(self) -> None:
        """Begin to accept calls.

        Raises Unavailable when an address cannot be bound.
        """
        if not self._address.port and self._socket_path is None:
            return
        if self._address.port and self._held is None:
            await asyncio.to_thread(self._claim)
        if self._certificates is None and not self._address.channel_arguments:
            await self._serve()
        else:
            await self._serve_with_library()
        if self._socket_path is not None:
            self._socket_path.publish()

    async def _serve(self) -> None:
        self._server = GrpcServer(self._api)
        self._add_services(self._server)
        await self._server.start([self._listener(target) for target in self._targets()])

    def _listener(self, target: str) -> socket.socket:
        try:
            if target.startswith(UNIX) and self._socket_path is not None:
                return self._socket_path.listener()
            return self._held or shared_listener(self._address.host, self._address.port)
        except OSError as error:
            raise Unavailable(f"Failed to bind gRPC to {target}: {error}") from error

    async def _serve_with_library(self) -> None:
        options = {**CHANNEL_ARGUMENTS, **dict(self._address.channel_arguments)}
        server = self._server = grpc.aio.server(options=tuple(options.items()))
        self._add_services(server)
        if self._socket_path is not None:
            self._socket_path.clear()
        for target in self._targets():
            self._bind(server, target)
        await server.start()

    def _add_services(self, server: grpc.aio.Server | GrpcServer) -> None:
        guarded = GuardedServer(server, self._api.guarded_calls)
        guarded.add_generic_rpc_handlers(self._api.handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self.health, guarded)
        add_reflection(guarded, self._api.others)

    def _targets(self) -> list[str]:
        targets = []
        if self._address.port:
            host = self._address.host or ("::" if has_ipv6() else "0.0.0.0")
            targets.append(f"{bracketed(host)}:{self._address.port}")
        if self._socket_path is not None:
            targets.append(f"{UNIX}{self._socket_path.bound}")
        return targets

    def _bind(self, server: grpc.aio.Server, target: str) -> None:
        try:
            if self._certificates is None:
                server.add_insecure_port(target)
            else:
                server.add_secure_port(target, self._certificates.credentials())
        except RuntimeError as error:
            raise Unavailable(f"Failed to bind gRPC to {target}: {error}") from error

    async def drain(self, timeout_s: float) -> None:
        """Send GOAWAY, take no more calls, and wait for those in flight."""
        self.health.close()
        if self._server is not None:
            await self._server.stop(timeout_s)
        if self._socket_path is not None:
            self._socket_path.withdraw()
