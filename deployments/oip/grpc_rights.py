"""What calls of the Open Inference Protocol's gRPC service need, by their path."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from core.access.rights import HEALTH, INFER, METADATA, OWN_ADMIN, STATES, STATUS, WHOLE_STATUS, Right, Scope
from core.grpc.rights import PathRule, RightsOf
from core.inference.protobuf_wire import parse_message
from core.oip.grpc_request import asked_model
from core.oip.repository import read_repository_request
from core.protos import oip_pb2

SERVICE: Final = "inference.GRPCInferenceService"
_CHANGE: Final = OWN_ADMIN._replace(scope=Scope.ANY)


def _named(message: type[Any], right: Right, otherwise: Right) -> RightsOf:
    """Return what a message needs that has a `name`, which may be empty."""

    def rights(raw: bytes) -> tuple[Right, ...]:
        name = parse_message(message, raw).name
        return (right.of(name) if name else otherwise,)

    return rights


def _changed(message: type[Any]) -> RightsOf:
    def rights(raw: bytes) -> tuple[Right, ...]:
        request = parse_message(message, raw)
        return (_CHANGE.of(read_repository_request(request.repository_name, request.model_name).name),)

    return rights


_METHODS: Final[Mapping[str, PathRule]] = {
    "ServerLive": PathRule(HEALTH),
    "ServerReady": PathRule(HEALTH),
    "ServerMetadata": PathRule(METADATA),
    "ModelReady": PathRule(HEALTH, _named(oip_pb2.ModelReadyRequest, HEALTH, HEALTH)),
    "ModelMetadata": PathRule(METADATA, _named(oip_pb2.ModelMetadataRequest, METADATA, METADATA)),
    "ModelInfer": PathRule(INFER, lambda raw: (INFER.of(asked_model(raw).name),)),
    "ModelStatistics": PathRule(STATUS, _named(oip_pb2.ModelStatisticsRequest, STATUS, WHOLE_STATUS)),
    "RepositoryIndex": PathRule(STATES),
    "RepositoryModelLoad": PathRule(_CHANGE, _changed(oip_pb2.RepositoryModelLoadRequest)),
    "RepositoryModelUnload": PathRule(_CHANGE, _changed(oip_pb2.RepositoryModelUnloadRequest)),
}
OIP_RULES: Final[Mapping[str, PathRule]] = MappingProxyType(
    {f"/{SERVICE}/{method}": rule for method, rule in _METHODS.items()}
)
"""Methods that are not offered are not here: who may see everything is told so."""
