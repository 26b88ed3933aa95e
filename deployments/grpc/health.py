"""The standard health service of gRPC, fed by the routing table.

Publishing a status never waits for watchers: a client that does not read must not hold up the router.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.routing.server_state import server_state
from core.routing.table import ModelRoutes, RoutingTable
from deployments.grpc.api import MODEL_SERVICE, PREDICTION_SERVICE

ALWAYS = ("", "ModelService", "PredictionService", MODEL_SERVICE, PREDICTION_SERVICE)
"""Names that report the server as a whole; the short ones are TensorFlow Serving's."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated code without hints
    """Reports whether the server and each model (`model/<name>`) answers; `others` are further services."""

    def __init__(self, others: Iterable[str] = ()) -> None:
        self._always = (*ALWAYS, *others)
        self._status: dict[str, int] = dict.fromkeys(self._always, NOT_SERVING)
        self._changed = asyncio.Event()
        self._is_open = self._is_closed = False

    def open(self, table: RoutingTable) -> None:
        """Report from now on what tables say: the ports are open."""
        self._is_open = True
        self.follow(table)

    def follow(self, table: RoutingTable) -> None:
        """Report the server and each model of the table; a model that left it stays known and does not serve.

        The server serves from the moment when `/readyz` first says so, and until it stops (TensorFlow Serving).
        """
        if self._is_closed:
            return
        if self._is_open and server_state(table).is_ready:
            self._status |= dict.fromkeys(self._always, SERVING)
        models = {f"model/{name}": _of_model(one) for name, one in table.models.items()}
        gone = dict.fromkeys(self._status.keys() - models.keys() - set(self._always), NOT_SERVING)
        self._status |= models | gone
        self._announce()

    def close(self) -> None:
        """Report everything as not serving from now on, and end all watching: the server is stopping."""
        self._is_closed = True
        self._status = dict.fromkeys(self._status, NOT_SERVING)
        self._announce()

    def _announce(self) -> None:
        """Wake all watchers; each reads at its own pace, and gets the newest status only."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(  # noqa: N802 - the method's name on the wire
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Return one status."""
        status = self._status.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"Nothing is known of {request.service!r}")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """Send a status now and whenever it changes; an unknown name may become known."""
        sent: int | None = None
        while True:
            changed = self._changed
            status = self._status.get(request.service, SERVICE_UNKNOWN)
            if status != sent:
                sent = status
                await context.write(health_pb2.HealthCheckResponse(status=status))
            elif self._is_closed:
                return
            else:
                await changed.wait()

    async def List(  # noqa: N802
        self, request: health_pb2.HealthListRequest, context: Any
    ) -> health_pb2.HealthListResponse:
        """Return all statuses."""
        del request, context
        statuses = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self._status.items()}
        return health_pb2.HealthListResponse(statuses=statuses)


def _of_model(model: ModelRoutes) -> int:
    """Return whether a model serves: a version is there, and the one that answers by default does not always fail."""
    serves = model.is_available and not model.is_failing
    return int(SERVING if serves else NOT_SERVING)
