"""Recorded requests as requests to one version: whatever model and version they named, they name that one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from core.inference.protobuf_wire import parse_message
from core.protos import serving_pb2
from core.routing.transport import Call, Method

_REQUESTS: Final[Mapping[Method, Any]] = MappingProxyType(
    {
        Method.PREDICT: serving_pb2.PredictRequest,
        Method.CLASSIFY: serving_pb2.ClassificationRequest,
        Method.REGRESS: serving_pb2.RegressionRequest,
        Method.MULTI_INFERENCE: serving_pb2.MultiInferenceRequest,
    }
)


def request_for(call: Call, model: str, version: int) -> bytes:
    """Return the serialized request of a recorded call to a version; raises InvalidArgument if it cannot be parsed."""
    message = parse_message(_REQUESTS[call.method], bytes(call.body))
    specs = [task.model_spec for task in message.tasks] if hasattr(message, "tasks") else [message.model_spec]
    for spec in specs:
        spec.name = model
        spec.version.value = version
    serialized: bytes = message.SerializeToString()
    return serialized
