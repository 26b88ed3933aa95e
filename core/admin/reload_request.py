"""HandleReloadConfigRequest: its request, and when and how it is answered (TensorFlow Serving, config reload)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.errors import Code, InvalidArgument, RuntimeFailure
from core.inference.protobuf_wire import parse_message
from core.protos import model_config_pb2, serving_pb2
from core.routing.table import ModelRoutes, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.record import GIVEN_UP
from core.versions.servable import ServableId

REPLACED = "another list of models without it was put in force meanwhile"
GONE = ModelRoutes(configured=False)


@dataclass(frozen=True, slots=True)
class ReloadRequest:
    """A new list of models, and the metrics whose increase the caller requests."""

    config: model_config_pb2.ModelServerConfig
    metric_names: tuple[str, ...] = ()


def read_request(raw: bytes) -> ReloadRequest:
    """Read a serialized ReloadConfigRequest; raises InvalidArgument when it does not hold a list of models."""
    request = parse_message(serving_pb2.ReloadConfigRequest, raw)
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
    """Whether every added model answers, by its labels too, has an error, or nothing to load.

    `table` is made of the list that added them, or of a later one, and every router uses it. A model that was removed
    again counts as settled.
    """
    return all(name not in table.models or _has_outcome(table.models[name]) for name in added)


def _has_outcome(model: ModelRoutes) -> bool:
    answers = _answers(model) and not model.awaited
    return bool(not model.configured or model.problem or answers or (_failures(model) and not _answers(model)))


def _answers(model: ModelRoutes) -> bool:
    """Whether an aspired version answers; one that is being unloaded does not count."""
    return any(_is_aspired(model, version) for version in model.available)


def _failures(model: ModelRoutes) -> list[VersionStatus]:
    """Return the aspired versions that could not be loaded, but for those whose cancelled load is repeated."""
    ended = (one for one in model.statuses if one.state is State.END and one.code is not Code.OK)
    return [
        one for one in ended if _is_aspired(model, one.version) and model.histories[one.version].failure != GIVEN_UP
    ]


def _is_aspired(model: ModelRoutes, version: int) -> bool:
    return version in model.histories and model.histories[version].aspired


def require_available(table: RoutingTable, added: Iterable[str]) -> None:
    """Raise the error that names each added model that does not answer, with the reason."""
    found = {name: table.models.get(name, GONE) for name in sorted(added)}
    failures = [
        _failure(name, model) for name, model in found.items() if not model.is_available or not model.configured
    ]
    if failures:
        listed = ", ".join(failures)
        raise RuntimeFailure(Code.UNKNOWN, f"{len(failures)} model(s) did not become available: {{{listed}, }}")


def _failure(name: str, model: ModelRoutes) -> str:
    if not model.configured:
        return f"{{{name} due to error: {Code.ABORTED.name}: {REPLACED}}}"
    failures = _failures(model)
    if failures:
        newest = failures[0]
        return f"{{{ServableId(name, newest.version)} due to error: {newest.code.name}: {newest.message}}}"
    return f"{{{name} due to error: {Code.NOT_FOUND.name}: {model.problem}}}"
