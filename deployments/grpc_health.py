"""The standard health service of gRPC, fed by the routing table."""

from __future__ import annotations

from grpc_health.v1 import health, health_pb2

from core.routing import RoutingTable
from deployments.grpc_services import MODEL_SERVICE, PREDICTION_SERVICE

ALWAYS = ("", "ModelService", "PredictionService", MODEL_SERVICE, PREDICTION_SERVICE)
"""Names that report the server as a whole; the short ones are TensorFlow Serving's."""

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Tells of the server and of each model (`model/<name>`) whether it answers."""

    def __init__(self) -> None:
        self.servicer = health.aio.HealthServicer()
        self._models: dict[str, bool] = {}

    async def open(self, table: RoutingTable) -> None:
        """Report the server as serving."""
        for name in ALWAYS:
            await self.servicer.set(name, SERVING)
        await self.follow(table)

    async def follow(self, table: RoutingTable) -> None:
        """Report each model of the table; a model that left it stays known and does not serve."""
        wanted = {name: bool(model.routes) for name, model in table.models.items()}
        gone = dict.fromkeys(self._models.keys() - wanted.keys(), False)
        for name, answers in (wanted | gone).items():
            if self._models.get(name) is not answers:
                await self.servicer.set(f"model/{name}", SERVING if answers else NOT_SERVING)
        self._models = wanted

    async def close(self) -> None:
        """Report everything as not serving, for ever: the server is stopping."""
        await self.servicer.enter_graceful_shutdown()
