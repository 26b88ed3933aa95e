"""gRPC reflection: tools that have no protos find services, methods and messages, and can call them.

The service exists under two names, of which tools know one or the other; their messages are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from core.grpc.reflection import in_package, reflection_pool
from deployments.grpc.api import ADMIN_SERVICE, MODEL_SERVICE, PREDICTION_SERVICE, SESSION_SERVICE

NEW_PACKAGE: Final = "grpc.reflection.v1"
NEW_FILE: Final = "grpc/reflection/v1/reflection.proto"
NEW_SERVICE: Final = f"{NEW_PACKAGE}.ServerReflection"
SERVICES: Final = (
    PREDICTION_SERVICE,
    MODEL_SERVICE,
    SESSION_SERVICE,
    ADMIN_SERVICE,
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
    NEW_SERVICE,
)


def add_reflection(server: Any, others: Sequence[str] = ()) -> None:
    """Describe all services of our port on it; `others` are those beside TensorFlow Serving's and our own."""
    new = in_package(reflection_pb2.DESCRIPTOR, NEW_FILE, NEW_PACKAGE)
    pool = reflection_pool(health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR, new)
    servicer = reflection.aio.ReflectionServicer((*SERVICES, *others), pool=pool)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = grpc.method_handlers_generic_handler(NEW_SERVICE, {"ServerReflectionInfo": method})
    server.add_generic_rpc_handlers((handlers,))
