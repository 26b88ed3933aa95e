"""What a gRPC call needs, by its path: TensorFlow Serving's services, our own, and gRPC's standard ones.

A path that is not known here needs the right to everything. A request that names a model needs the right for that one;
one that names several, for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from core.access.rights import HEALTH, INFER, METADATA, OWN_ADMIN, RELOAD, STATES, STATUS, WHOLE_STATUS, Right, Scope
from core.admin.delivery_messages import read_rollout_request
from core.admin.messages import SERVICE as ADMIN_SERVICE
from core.admin.messages import read_profile_request
from core.grpc.model_spec import peek
from core.inference.protobuf_wire import parse_message
from core.protos import serving_pb2

RightsOf = Callable[[Any], tuple[Right, ...]]
"""Returns what a request needs by its message; raises ServingError for one that cannot be read."""


class PathRule(NamedTuple):
    """What calls of a path need before anything is read, and what they need by their message."""

    right: Right | None
    by_message: RightsOf | None = None


def _of_model(right: Right) -> RightsOf:
    return lambda raw: (right.of(peek(raw).name),)


def _of_tasks(raw: bytes) -> tuple[Right, ...]:
    tasks = parse_message(serving_pb2.SerializedMultiInferenceRequest, raw).tasks
    return tuple(INFER.of(name) for name in dict.fromkeys(one.model_spec.name for one in tasks))


def _of_profile(raw: bytes) -> tuple[Right, ...]:
    return (OWN_ADMIN.of(read_profile_request(raw).model),)


def _of_rollout(raw: bytes) -> tuple[Right, ...]:
    return (OWN_ADMIN.of(read_rollout_request(raw).model),)


def _of_health(request: Any) -> tuple[Right, ...]:
    """Return what a question of gRPC's health service needs; models are asked for as `model/NAME`."""
    kind, _, name = request.service.partition("/")
    return (HEALTH.of(name),) if kind == "model" else ()


_PREDICTION: Final = "/tensorflow.serving.PredictionService"
_MODELS: Final = "/tensorflow.serving.ModelService"
_ANY_ADMIN: Final = OWN_ADMIN._replace(scope=Scope.ANY)
_HEALTH_SERVICE: Final = "/grpc.health.v1.Health"
UNKNOWN_PATH: Final = PathRule(WHOLE_STATUS)
OPEN: Final = PathRule(None)

RULES: Final[Mapping[str, PathRule]] = MappingProxyType(
    {
        **{
            f"{_PREDICTION}/{method}": PathRule(INFER, _of_model(INFER))
            for method in ("Predict", "Classify", "Regress")
        },
        "/tensorflow.serving.SessionService/SessionRun": PathRule(INFER, _of_model(INFER)),
        f"{_PREDICTION}/MultiInference": PathRule(INFER, _of_tasks),
        f"{_PREDICTION}/GetModelMetadata": PathRule(METADATA, _of_model(METADATA)),
        f"{_MODELS}/GetModelStatus": PathRule(STATES, _of_model(STATES)),
        f"{_MODELS}/HandleReloadConfigRequest": PathRule(RELOAD),
        f"/{ADMIN_SERVICE}/GetConfig": PathRule(OWN_ADMIN),
        f"/{ADMIN_SERVICE}/ChangeConfig": PathRule(OWN_ADMIN),
        f"/{ADMIN_SERVICE}/GetStatus": PathRule(STATUS),
        f"/{ADMIN_SERVICE}/Profile": PathRule(_ANY_ADMIN, _of_profile),
        f"/{ADMIN_SERVICE}/ChangeRollout": PathRule(_ANY_ADMIN, _of_rollout),
        "/tensorflow.ProfilerService/Profile": PathRule(OWN_ADMIN),
        "/tensorflow.ProfilerService/Monitor": PathRule(OWN_ADMIN),
        "/tensorflow.ProfilerService/Terminate": PathRule(OWN_ADMIN),
        f"{_HEALTH_SERVICE}/Check": PathRule(HEALTH, _of_health),
        f"{_HEALTH_SERVICE}/Watch": PathRule(HEALTH, _of_health),
        f"{_HEALTH_SERVICE}/List": PathRule(STATES._replace(scope=Scope.WHOLE)),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": PathRule(METADATA),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": PathRule(METADATA),
    }
)
"""What calls need, by path."""
