"""The services on Serve's own gRPC proxy: registered by name, with messages left as bytes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from deployments.grpc.api import ADMIN_SERVICE, SERVICES, TOKEN_SERVICE, service_handler
from deployments.grpc.services import GrpcAnswer
from deployments.grpc.status import status_code

OWN_PORT_ONLY = frozenset({TOKEN_SERVICE, ADMIN_SERVICE})
"""Services that Serve's own gRPC proxy does not offer."""
PROXIED: Mapping[str, Iterable[str]] = MappingProxyType(
    {name: methods for name, methods in SERVICES.items() if name not in OWN_PORT_ONLY}
)
"""TensorFlow Serving's services with their methods."""


def set_status(context: Any, answer: GrpcAnswer) -> None:
    """Set code, text and trailers on the context; an exception would be logged even for a client's mistake."""
    context.set_code(status_code(answer.code))
    context.set_details(answer.message)
    if answer.trailers:
        context.set_trailing_metadata(list(answer.trailers))  # Serve adds it to a list of its own


class Raw:
    """Bytes with the one method of a message that Serve's gRPC proxy calls."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self._body


class ProxyMethods:
    """The methods of a deployment that Serve's own gRPC proxy calls by name."""

    @abstractmethod
    async def answer_proxy(self, method: str, request: bytes, grpc_context: Any) -> Raw:
        """Answer a call of one of the methods below."""

    async def Predict(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802 - so are the names on the wire
        return await self.answer_proxy("Predict", request, grpc_context)

    async def Classify(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("Classify", request, grpc_context)

    async def Regress(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("Regress", request, grpc_context)

    async def MultiInference(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("MultiInference", request, grpc_context)

    async def GetModelMetadata(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("GetModelMetadata", request, grpc_context)

    async def GetModelStatus(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("GetModelStatus", request, grpc_context)

    async def HandleReloadConfigRequest(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("HandleReloadConfigRequest", request, grpc_context)

    async def SessionRun(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("SessionRun", request, grpc_context)


async def _placeholder(raw: bytes, context: Any) -> bytes:
    """Stand for a method until Serve replaces it by a call of the router's method of the same name."""
    del context
    return raw


def register(server: Any, services: Mapping[str, Iterable[str]]) -> None:
    """Register methods of services on Serve's own gRPC proxy, leaving messages as bytes."""
    for name, methods in services.items():
        server.add_generic_rpc_handlers((service_handler(name, dict.fromkeys(methods, _placeholder)),))
