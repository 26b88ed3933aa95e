"""HandleReloadConfigRequest: what is asked, and when it is answered (TensorFlow Serving, config reload)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import Code, InvalidArgument, RuntimeFailure
from core.lifecycle import State
from core.protos import model_config_pb2, serving_pb2
from core.routing import ModelRoutes, RoutingTable
from core.servable import ServableId
from core.wire import parse


@dataclass(frozen=True, slots=True)
class ReloadRequest:
    """A new list of models, and the metrics whose increase the caller wants to know."""

    config: model_config_pb2.ModelServerConfig
    metric_names: tuple[str, ...] = ()


def read_request(raw: bytes) -> ReloadRequest:
    """Read a serialized ReloadConfigRequest; raises InvalidArgument when it does not hold a list of models."""
    request = parse(serving_pb2.ReloadConfigRequest, raw)
    if request.config.WhichOneof("config") != "model_config_list":
        raise InvalidArgument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported"
        )
    return ReloadRequest(request.config, tuple(request.metric_names))


def success(request: ReloadRequest) -> bytes:
    """Serialize the answer to a reload whose new models all answer."""
    response = serving_pb2.ReloadConfigResponse()
    response.status.error_code = serving_pb2.StatusProto.OK
    for name in request.metric_names:
        response.metric.add(name=name, int64_value_increase=0)
    return response.SerializeToString()


def is_settled(table: RoutingTable, added: Iterable[str]) -> bool:
    """Tell whether every added model has a version that answers, an error, or nothing to load."""
    return all(name in table.models and _has_outcome(table.models[name]) for name in added)


def _has_outcome(model: ModelRoutes) -> bool:
    return bool(model.routes or model.problem) or any(_has_failed(one.state, one.code) for one in model.statuses)


def _has_failed(state: State, code: Code) -> bool:
    return state is State.END and code is not Code.OK


def require_available(table: RoutingTable, added: Iterable[str]) -> None:
    """Raise the error that names each added model that does not answer, with the reason."""
    failures = [_failure(name, table.models[name]) for name in added if not table.models[name].routes]
    if failures:
        listed = ", ".join(failures)
        raise RuntimeFailure(Code.UNKNOWN, f"{len(failures)} model(s) did not become available: {{{listed}, }}")


def _failure(name: str, model: ModelRoutes) -> str:
    for one in model.statuses:
        if _has_failed(one.state, one.code):
            return f"{{{ServableId(name, one.version)} due to error: {one.code.name}: {one.message}}}"
    return f"{{{name} due to error: {Code.NOT_FOUND.name}: {model.problem}}}"
