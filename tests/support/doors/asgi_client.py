"""Drives the REST API as an HTTP server does, with versions that answer from memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State, VersionStatus
from core.versions.servable import ServableId
from deployments.rest.api import HttpApi, HttpLimits
from deployments.routing.request_router import RequestRouter
from tests.support.fakes import FakeTransport

BODY = b'{"instances": [1.0]}'
ODD_NAME = "modelname!#$%&'()*+,/:;=?@[]"
ODD_PATH = "modelname%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D"


def model(name: str, *versions: int, labels: dict[str, int] | None = None) -> ModelRoutes:
    """Make a model of which these versions answer."""
    routes = {version: Route.of(ServableId(name, version)) for version in versions}
    statuses = tuple(VersionStatus(version, State.AVAILABLE) for version in sorted(versions, reverse=True))
    return ModelRoutes(routes, labels or {}, statuses)


TABLE = RoutingTable(
    7, {"h2": model("h2", 123, 124, labels={"stable": 123}), ODD_NAME: model(ODD_NAME, 1)}, settled=True
)


@dataclass
class Response:
    """What the client saw."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def error(self) -> str:
        """The text of a JSON error."""
        return json.loads(self.body)["error"]


class Client:
    """Drives the application as an HTTP server does."""

    def __init__(self, *, table: RoutingTable = TABLE, **limits: Any) -> None:
        self.transport = FakeTransport()
        self.router = RequestRouter("r", self.transport)
        self.router.apply(table)
        self.api = HttpApi(self.router, HttpLimits(**limits), "token")
        self.received = 0
        self.received_before_answer = 0
        self.disconnect = asyncio.Event()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        *,
        by_front_door: bool = True,
    ) -> Response | None:
        """Send a request whose body comes in the given pieces; None when no response was begun.

        Other servers than our front door, as Ray Serve's, know no fragments.
        """
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "raw_path": path.encode("utf-8", "surrogateescape"),
            "query_string": query.encode("utf-8", "surrogateescape"),
            "headers": list(headers),
            "state": {"target": target.encode("utf-8", "surrogateescape")} if by_front_door else {},
        }
        pieces = [body] if isinstance(body, bytes) else list(body)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            self.received += 1
            if not pieces:
                await self.disconnect.wait()
                return {"type": "http.disconnect"}
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: dict[str, Any]) -> None:
            if not sent:
                self.received_before_answer = self.received
            sent.append(message)

        await self.api.app()(scope, receive, send)
        if not sent:
            return None
        begin, *content = sent
        assert [one.get("more_body", False) for one in content] == [True] * (len(content) - 1) + [False]
        headers_seen = dict(begin["headers"])
        said = b"".join(one["body"] for one in content)
        assert headers_seen[b"content-length"] == b"%d" % len(said)
        return Response(begin["status"], headers_seen, said)
