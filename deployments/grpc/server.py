"""A gRPC server on asyncio's event loop, for ports without TLS and without options of gRPC's own library.

grpc.aio needs 215 to 260 microseconds for an echo, several times what a router does for a tiny request; this server
needs about a seventh of that (decision 0013).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Sequence

import grpc

from deployments.access.guard import Guard
from deployments.grpc.api import GrpcApi
from deployments.grpc.protocol import GrpcProtocol
from deployments.grpc.services import ShortMethod
from deployments.grpc.unary_call import GuardedCall, UnaryCall
from deployments.routing.request_router import RequestRouter

BACKLOG = 4096
# At DEBUG, hpack logs every header that it decodes, tokens too.
logging.getLogger("hpack").setLevel(logging.INFO)

CLIENTS_KNOW_AFTER_S = 1.0
"""How long clients may take to read GOAWAY; calls that they sent before are still answered."""


class _HandlerCallDetails(grpc.HandlerCallDetails):  # type: ignore[misc]  # no hints
    """The argument of generic handlers: the path of a call."""

    def __init__(self, path: str) -> None:
        self.method = path
        self.invocation_metadata = ()


class GrpcServer:
    """Listens, and keeps its connections; implements `deployments.grpc.protocol.Calls`."""

    def __init__(self, api: GrpcApi) -> None:
        self.connections: set[GrpcProtocol] = set()
        self.router: RequestRouter = api.router
        self.guard: Guard = api.guard
        self.short_call = GuardedCall if api.guard.is_ruled else UnaryCall
        self.refusal = api.guarded_calls.refusal
        self._short = api.short_methods()
        self._generic: list[grpc.GenericRpcHandler] = []
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self._servers: list[asyncio.Server] = []

    def short(self, path: str) -> ShortMethod | None:
        return self._short.get(path)

    def handler(self, path: str) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(path) or self._find(path)

    def _find(self, path: str) -> grpc.RpcMethodHandler | None:
        details = _HandlerCallDetails(path)
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                self._handlers[path] = handler
                return handler
        return None

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Serve these methods; gRPC's generated code calls this, as on grpc.aio's server."""
        self._generic += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Ignore what generated code registers beside its generic handlers."""

    async def start(self, listeners: Sequence[socket.socket]) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            create = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await create(self._accepted, sock=listener, backlog=BACKLOG))

    def _accepted(self) -> GrpcProtocol:
        return GrpcProtocol(self, asyncio.get_running_loop())

    async def stop(self, timeout_s: float) -> None:
        """Accept no more connections and no more calls, and wait for the answers of those in flight."""
        ends_at_s = time.monotonic() + timeout_s
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.leave()
        await self._wait(min(ends_at_s, time.monotonic() + CLIENTS_KNOW_AFTER_S))
        for connection in tuple(self.connections):
            connection.leave_now()
        await self._wait(ends_at_s)
        for connection in tuple(self.connections):
            connection.abort()

    async def _wait(self, ends_at_s: float) -> None:
        while self.connections and time.monotonic() < ends_at_s:
            await asyncio.sleep(0.01)
