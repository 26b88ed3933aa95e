"""The gRPC service of the Open Inference Protocol: the requested model is read here, tensors are not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core.errors import Code, ServingError
from core.inference.protobuf_wire import parse_message
from core.oip.grpc_request import asked_model, raw_tensor_at
from core.oip.metadata import SERVER_NAME
from core.oip.model_reference import ModelReference, model_reference
from core.protos import oip_pb2
from core.routing.transport import Call, Method
from deployments.division.request_headers import CALL_FIELDS
from deployments.grpc.api import failed_call, grpc_answer
from deployments.grpc.services import Answering, GrpcAnswer, GrpcService, ShortMethod
from deployments.oip.grpc_rights import OIP_RULES, SERVICE
from deployments.oip.server_facts import ServerFacts

INFER = "ModelInfer"
PROBES = frozenset({"ServerLive", "ServerReady"})
"""A server under load must not look like a dead one."""
ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "ModelConfig": "This server has no model configurations of Triton's; ModelMetadata describes a model.",
        "TraceSetting": "Tracing is configured when the server starts.",
        "LogSettings": "Logs are configured when the server starts.",
        **dict.fromkeys(
            (
                f"{kind}SharedMemory{what}"
                for kind in ("System", "Cuda")
                for what in ("Status", "Register", "Unregister")
            ),
            "Shared memory is not supported; send tensors in raw_input_contents.",
        ),
    }
)
"""Methods that clients know from Triton and that are not offered here, each with what to say."""


class OipService:
    """The methods of the service; `more` are those of extensions, by name."""

    def __init__(self, facts: ServerFacts, more: Mapping[str, Answering] = MappingProxyType({})) -> None:
        self._facts = facts
        self._more = more
        self._router = facts.router

    def service(self) -> GrpcService:
        """Return the service for the gRPC port."""
        methods: dict[str, Answering] = {
            "ServerLive": _at_once(lambda _: oip_pb2.ServerLiveResponse(live=True).SerializeToString()),
            "ServerReady": _at_once(
                lambda _: oip_pb2.ServerReadyResponse(ready=self._facts.is_ready).SerializeToString()
            ),
            "ServerMetadata": _at_once(self._server_metadata),
            "ModelReady": _at_once(self._model_ready),
            "ModelMetadata": self._model_metadata,
            INFER: self._infer,
            **{name: _absent(text) for name, text in ABSENT.items()},
            **self._more,
        }
        short = (ShortMethod(Method.OIP_INFER, INFER, asked_model, raw_tensor_at),)
        return GrpcService(SERVICE, methods, short, OIP_RULES, Code.UNAVAILABLE, PROBES)

    def _server_metadata(self, raw: bytes) -> bytes:
        parse_message(oip_pb2.ServerMetadataRequest, raw)
        return oip_pb2.ServerMetadataResponse(
            name=SERVER_NAME, version=self._facts.version, extensions=self._facts.extensions
        ).SerializeToString()

    def _model_ready(self, raw: bytes) -> bytes:
        request = parse_message(oip_pb2.ModelReadyRequest, raw)
        is_ready = self._facts.is_model_ready(model_reference(request.name, request.version))
        return oip_pb2.ModelReadyResponse(ready=is_ready).SerializeToString()

    async def _model_metadata(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        request = parse_message(oip_pb2.ModelMetadataRequest, raw)
        asked = model_reference(request.name, request.version)
        route = self._facts.route_to(asked)
        body = self._facts.metadata_query(asked, route, "").to_bytes()
        return grpc_answer(await self._router.forward(route, Call(Method.OIP_METADATA, body, timeout_s)))

    async def _infer(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        try:
            asked = asked_model(raw)
        except ServingError as error:
            return await self._router.counted("", "GRPC", INFER, failed_call(error))
        return await self._router.counted(asked.name, "GRPC", INFER, self._forward(asked, raw, timeout_s))

    async def _forward(self, asked: ModelReference, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        route = self._facts.route_to(asked, CALL_FIELDS.get())
        return grpc_answer(
            await self._router.forward(route, Call(Method.OIP_INFER, raw, timeout_s, tensor_at=raw_tensor_at(raw)))
        )


def _at_once(answer: Callable[[bytes], bytes]) -> Answering:
    async def answered(raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        return GrpcAnswer(Code.OK, body=answer(raw))

    return answered


def _absent(text: str) -> Answering:
    async def answered(raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del raw, timeout_s
        return GrpcAnswer(Code.UNIMPLEMENTED, text)

    return answered
