"""Both ports of a router whose watcher turns in memory, with the extensions of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import grpc
from google.protobuf.message import Message

from core.errors import ServingError
from deployments.grpc.services import GrpcService
from deployments.oip.extensions import extension_names, extensions_of
from deployments.oip.grpc_rights import SERVICE
from deployments.oip.grpc_service import OipService
from deployments.oip.rest_api import OipRest
from deployments.oip.server_facts import ServerFacts
from deployments.rest.api import HttpApi, HttpLimits
from deployments.rest.door import HttpAddress, HttpDoor
from tests.support.admin_server import AdminServer
from tests.support.clients import RestClient, free_port
from tests.support.sites import Site


class ListedReports:
    """Answers with the reports that a test puts there; implements `deployments.rest.metrics_endpoint.ModelServers`."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    async def reports(self, timeout_s: float) -> list[bytes]:
        """Return them at once."""
        del timeout_s
        return self.given


class RepositoryServer(AdminServer):
    """Serves a site's watcher, and version 2 of the protocol; a context manager.

    `failures` are raised, one by one, instead of what the watcher would answer; `asked` names what it was asked.
    """

    def __init__(self, site: Site, *, is_enabled: bool = True) -> None:
        self._is_enabled = is_enabled
        self.failures: list[ServingError] = []
        self.asked: list[str] = []
        self.model_servers = ListedReports()
        super().__init__(site)
        self.rest_port = free_port()
        rest = OipRest(self._facts, HttpLimits(), self._extensions.handlers)
        api = HttpApi(self.router, HttpLimits(), "token", others=(rest,))
        self._rest = HttpDoor(HttpAddress("127.0.0.1", self.rest_port), api, "token")
        self.rest = RestClient(self.rest_port)

    def _others(self) -> Sequence[GrpcService]:
        names = extension_names(has_repository=self._is_enabled)
        self._facts = ServerFacts(self.router, lambda: False, names)
        self._extensions = extensions_of(
            self._facts, self._hand_over, self.model_servers, has_repository=self._is_enabled
        )
        return (OipService(self._facts, self._extensions.methods).service(),)

    async def _hand_over(self, method: str, raw: bytes) -> bytes:
        self.asked.append(method)
        if self.failures:
            raise self.failures.pop(0)
        return await self.requests[method](raw)

    def call(self, method: str, request: Message, timeout_s: float = 60.0) -> bytes:
        """Call a method of the service; raises grpc.RpcError."""
        with grpc.insecure_channel(self.address) as channel:
            answer: bytes = channel.unary_unary(f"/{SERVICE}/{method}")(request.SerializeToString(), timeout=timeout_s)
        return answer

    def index(self) -> list[Any]:
        """Return the index, over REST."""
        reply = self.rest.send("POST", "/v2/repository/index")
        assert reply.status == 200, reply.body
        return list(reply.json)

    def __enter__(self) -> Self:
        super().__enter__()
        self.run(self._rest.open())
        return self

    def __exit__(self, *error: object) -> None:
        self.rest.close()
        self.run(self._rest.drain(0.1))
        super().__exit__(*error)
