"""Statistics of models on both ports: this router asks the model servers, and adds up what each has counted.

They begin anew with each replica, unlike the metrics of the page, which the watcher keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.errors import Code, InvalidArgument
from core.inference.protobuf_wire import parse_message
from core.oip.model_reference import ModelReference, model_reference
from core.oip.path import OipRequest, Operation
from core.oip.statistics import Statistics, statistics_json, statistics_message, statistics_of
from core.protos import oip_pb2
from core.rest.http_answer import HttpAnswer
from core.versions.servable import ServableId
from deployments.grpc.services import Answering, GrpcAnswer
from deployments.oip.http_answers import json_document
from deployments.oip.rest_api import Handler
from deployments.oip.server_facts import ServerFacts
from deployments.rest.metrics_endpoint import ModelServers

GATHER_TIMEOUT_S = 1.0
"""How long a model server may take to answer; what one has counted that takes longer is missing."""


class ModelStatistics:
    """Tells what versions have done since their model servers began."""

    def __init__(self, facts: ServerFacts, model_servers: ModelServers) -> None:
        self._facts = facts
        self._model_servers = model_servers

    def handlers(self) -> Mapping[Operation, Handler]:
        """Return what answers over REST."""
        return MappingProxyType({Operation.STATISTICS: self._rest})

    def methods(self) -> Mapping[str, Answering]:
        """Return what answers over gRPC."""
        return MappingProxyType({"ModelStatistics": self._grpc})

    async def _rest(self, request: OipRequest, body: bytes) -> HttpAnswer:
        del body
        return json_document(statistics_json(await self._of(request.model)))

    async def _grpc(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        request = parse_message(oip_pb2.ModelStatisticsRequest, raw)
        if request.version and not request.name:
            raise InvalidArgument("the request names a version, and no model")
        asked = model_reference(request.name, request.version) if request.name else None
        return GrpcAnswer(Code.OK, body=statistics_message(await self._of(asked)))

    async def _of(self, asked: ModelReference | None) -> Statistics:
        """Return the statistics of a version, of all that answer of a model, or of all models; raises ServingError."""
        wanted = self._wanted(asked)
        return statistics_of(await self._model_servers.reports(GATHER_TIMEOUT_S), wanted)

    def _wanted(self, asked: ModelReference | None) -> list[ServableId]:
        models = self._facts.router.table.models
        if asked is None:
            return [ServableId(name, version) for name in sorted(models) for version in sorted(models[name].routes)]
        chosen = self._facts.route_to(asked).servable
        if asked.version is not None or asked.label is not None:
            return [chosen]
        return [ServableId(asked.name, version) for version in sorted(models[asked.name].routes)]
