"""The gRPC services: bytes in, bytes out. No tensor is parsed here; only the model spec is read.

The handlers take and give raw bytes, so a request is forwarded as it came. The same handlers answer on the front
door and, through `add_services`, on Serve's own gRPC proxy.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import grpc

from core.errors import Code, ServingError
from core.grpc_errors import status_message
from core.grpc_metadata import check_envelope
from core.metadata_json import status_response
from core.model_spec import ModelSpecRef, peek, peek_task
from core.transport import Call, Method
from deployments.port_claim import TOKEN_METHOD
from deployments.request_router import RequestRouter

log = logging.getLogger(__name__)

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
SESSION_SERVICE = "tensorflow.serving.SessionService"

STATUS_CODES: Mapping[int, grpc.StatusCode] = MappingProxyType({code.value[0]: code for code in grpc.StatusCode})

Handler = Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]


class GrpcApi:
    """Answers gRPC calls from a routing table and the model servers behind it."""

    def __init__(self, router: RequestRouter, token: str) -> None:
        self._router = router
        self._token = token.encode()

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Give the handlers of all services, for `server.add_generic_rpc_handlers`."""
        prediction = {
            "Predict": self._forwarding(Method.PREDICT, peek),
            "Classify": self._forwarding(Method.CLASSIFY, peek),
            "Regress": self._forwarding(Method.REGRESS, peek),
            "MultiInference": self._forwarding(Method.MULTI_INFERENCE, peek_task),
            "GetModelMetadata": self._forwarding(Method.GET_MODEL_METADATA, _metadata_spec),
        }
        return (
            _service(PREDICTION_SERVICE, prediction),
            _service(MODEL_SERVICE, {"GetModelStatus": self._guarded(self._status)}),
            _service(TOKEN_METHOD.split("/")[1], {TOKEN_METHOD.split("/")[2]: self._give_token}),
        )

    def _forwarding(self, method: Method, spec_of: Callable[[bytes], ModelSpecRef]) -> Handler:
        """Make the handler that resolves the model spec and forwards the bytes."""

        async def forward(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
            spec = spec_of(raw)
            route = self._router.table.resolve(spec.name, spec.version, spec.label)
            answer = await self._router.forward(route, Call(method, raw, context.time_remaining()))
            if answer.code is Code.OK:
                return bytes(answer.body)
            _fail(context, answer.code, bytes(answer.body).decode("utf-8", "replace"))
            return b""

        return self._guarded(forward)

    @staticmethod
    def _guarded(handler: Handler) -> Handler:
        """Turn errors into a status; set, not raised, so that nothing is logged for a client's mistake."""

        async def guarded(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                return await handler(raw, context)
            except ServingError as error:
                _fail(context, error.code, str(error))
            return b""

        return guarded

    async def _status(self, raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        del context
        spec = peek(raw)
        return status_response(self._router.table.statuses(spec.name, spec.version))

    async def _give_token(self, raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
        del raw, context
        return self._token


def _metadata_spec(raw: bytes) -> ModelSpecRef:
    """Read the model spec of GetModelMetadata, whose other fields are checked before the model is looked up."""
    check_envelope(raw)
    return peek(raw)


def _fail(context: grpc.aio.ServicerContext, code: Code, message: str) -> None:
    context.set_code(STATUS_CODES.get(int(code), grpc.StatusCode.UNKNOWN))
    context.set_details(status_message(message))


def _service(name: str, methods: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    """Register handlers without serializers: requests and responses stay bytes."""
    handlers: dict[str, Any] = {
        method: grpc.unary_unary_rpc_method_handler(handler) for method, handler in methods.items()
    }
    return grpc.method_handlers_generic_handler(name, handlers)
