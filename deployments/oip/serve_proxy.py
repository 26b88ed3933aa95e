"""The Open Inference Protocol on Serve's own gRPC proxy, whose calls come to a router's methods by name."""

from __future__ import annotations

from typing import Any

from deployments.grpc.serve_proxy import ProxyMethods, Raw


class OipProxyMethods(ProxyMethods):
    """The methods of the protocol that Serve's own gRPC proxy calls by name."""

    async def ServerLive(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802 - the names on the wire
        return await self.answer_proxy("ServerLive", request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("ServerReady", request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("ServerMetadata", request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("ModelReady", request, grpc_context)

    async def ModelMetadata(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("ModelMetadata", request, grpc_context)

    async def ModelInfer(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("ModelInfer", request, grpc_context)

    async def ModelStatistics(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("ModelStatistics", request, grpc_context)

    async def RepositoryIndex(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("RepositoryIndex", request, grpc_context)

    async def RepositoryModelLoad(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("RepositoryModelLoad", request, grpc_context)

    async def RepositoryModelUnload(self, request: bytes, grpc_context: Any) -> Raw:  # noqa: N802
        return await self.answer_proxy("RepositoryModelUnload", request, grpc_context)


OIP_METHODS = tuple(name for name in vars(OipProxyMethods) if not name.startswith("_"))
