"""The gRPC port of one router replica: grpc.aio on the front door's event loop."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from core.errors import Unavailable
from core.wire_reflection import reflection_pool
from deployments.certificates import Certificates
from deployments.grpc_health import Health
from deployments.grpc_services import MODEL_SERVICE, PREDICTION_SERVICE, SESSION_SERVICE, GrpcApi
from deployments.port_claim import claim_grpc, has_ipv6

log = logging.getLogger(__name__)

LARGEST_MESSAGE_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class GrpcAddress:
    """Where gRPC listens: a TCP port (0 for none) of an interface, and a UNIX socket path (empty for none)."""

    host: str
    port: int
    socket_path: str = ""
    channel_arguments: tuple[tuple[str, int | str], ...] = ()
    max_concurrent_calls: int = 0
    ssl_config_file: str = ""


class GrpcDoor:
    """Opens, drains and closes the gRPC port."""

    def __init__(self, address: GrpcAddress, api: GrpcApi, token: str) -> None:
        self._address = address
        self._api = api
        self._server: grpc.aio.Server | None = None
        self.health = Health()
        self._certificates = Certificates(address.ssl_config_file) if address.ssl_config_file else None
        if address.port:
            claim_grpc(address.host, address.port, token, is_encrypted=bool(address.ssl_config_file))

    async def open(self) -> None:
        """Begin to accept calls.

        Raises Unavailable when an address cannot be bound.
        """
        targets = self._targets()
        if not targets:
            return
        self._server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
                ("grpc.max_send_message_length", LARGEST_MESSAGE_BYTES),
                ("grpc.so_reuseport", 1),
                *self._address.channel_arguments,
            ),
            maximum_concurrent_rpcs=self._address.max_concurrent_calls or None,
        )
        self._server.add_generic_rpc_handlers(self._api.handlers())
        health_pb2_grpc.add_HealthServicer_to_server(self.health.servicer, self._server)
        services = (PREDICTION_SERVICE, MODEL_SERVICE, SESSION_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(services, self._server, pool=reflection_pool())
        for target in targets:
            self._bind(self._server, target)
        await self._server.start()

    def _targets(self) -> list[str]:
        targets = []
        if self._address.port:
            host = self._address.host or ("[::]" if has_ipv6() else "0.0.0.0")
            targets.append(f"{host}:{self._address.port}")
        if self._address.socket_path:
            targets.append(f"unix:{self._address.socket_path}")
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
        await self.health.close()
        if self._server is not None:
            await self._server.stop(timeout_s)
