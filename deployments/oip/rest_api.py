"""The REST API of the Open Inference Protocol, below /v2 on the REST port.

What a request names goes before its body: an unknown path, method, model or version is the answer, whatever the body
is. So a body is parsed only where its version answers, by the model server, which knows the signature.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from core.access.rights import Right
from core.errors import HTTP_STATUS, ServingError, Unimplemented
from core.oip.metadata import server_metadata
from core.oip.model_reference import ModelReference, route_to
from core.oip.path import OipRequest, Operation, is_oip, oip_rights, parse_oip_request
from core.oip.rest_body import footer, json_length
from core.rest.http_answer import HttpAnswer, of_version
from core.routing.transport import Call, Method
from deployments.access.guard import SIGHT
from deployments.oip.http_answers import (
    LENGTH_HEADER,
    connection_refusal,
    cors_preflight,
    infer_answer,
    json_document,
    metadata_response,
    refusal,
)
from deployments.oip.http_coding import ACCEPT_ENCODING, coding_for, in_coding, unpacked_body
from deployments.oip.server_facts import ServerFacts
from deployments.oip.short_infer import INFER, ShortInfer
from deployments.rest.api import HttpLimits
from deployments.rest.asgi import Receive, Scope, header
from deployments.rest.body import ClientGone
from deployments.rest.disconnect_watch import watched
from deployments.rest.short_request import Shown, Wanted

Handler: TypeAlias = Callable[[OipRequest, bytes], Awaitable[HttpAnswer]]
"""Answers a request and its body, which is empty for GET; raises ServingError."""
NOT_STRICT = frozenset({"", "0", "false"})


class OipRest:
    """Answers requests below /v2; implements `deployments.rest.short_request.RestApi`.

    `handlers` answer the operations of extensions (statistics, model repository); one without a handler is not offered.
    """

    def __init__(
        self, facts: ServerFacts, limits: HttpLimits, handlers: Mapping[Operation, Handler] = MappingProxyType({})
    ) -> None:
        self._facts = facts
        self._router = facts.router
        self._limits = limits
        self._kind = partial(ShortInfer, cors=True) if limits.cors else ShortInfer
        self._handlers: Mapping[Operation, Handler] = {
            Operation.SERVER: self._server,
            Operation.LIVE: self._live,
            Operation.READY: self._ready,
            Operation.MODELS: self._models,
            **handlers,
        }

    def owns(self, target: str) -> bool:
        return is_oip(target)

    def wanted(self, target: str) -> Wanted | None:
        try:
            request = parse_oip_request("POST", target)
        except ServingError:
            return None
        if request.operation is not Operation.INFER or request.model is None:
            return None
        return Wanted(request.model, Method.OIP_REST_INFER, INFER, self._kind)

    def shown(self, method: str, path: str) -> Shown:
        try:
            request = parse_oip_request(method, path)
        except ServingError:
            return Shown(method, "", "")
        return Shown(request.operation.value, request.name, request.route)

    def rights(self, method: str, target: str) -> tuple[Right, ...]:
        return oip_rights(method, target)

    def failed(self, error: ServingError) -> HttpAnswer:
        return refusal(error)

    def refused(self, status: int) -> HttpAnswer:
        return connection_refusal(status)

    async def answer(self, scope: Scope, target: str, receive: Receive) -> HttpAnswer:
        answer = await self._counted(scope, target, receive)
        return await in_coding(answer, coding_for(answer, header(scope, ACCEPT_ENCODING)))

    async def _counted(self, scope: Scope, target: str, receive: Receive) -> HttpAnswer:
        """Answer a request, and count it for the model that it names; those that name none are not counted."""
        if scope["method"] == "OPTIONS" and self._limits.cors:
            return cors_preflight()
        try:
            request = parse_oip_request(scope["method"], target)
        except ServingError as error:
            return refusal(error)
        work = self._answered(scope, request, receive)
        if request.model is None:
            return await work
        api = INFER if request.operation is Operation.INFER else ""
        return await self._router.counted(request.name, "REST", api, work)

    async def _answered(self, scope: Scope, request: OipRequest, receive: Receive) -> HttpAnswer:
        """Answer a request; raises ClientGone only."""
        asked = request.model
        try:
            if request.operation is Operation.INFER and asked is not None:
                return await self._infer(scope, asked, receive)
            if request.operation is Operation.METADATA and asked is not None:
                return await self._metadata(asked, request.parameter("signature_name"), receive)
            if request.operation is Operation.MODEL_READY and asked is not None:
                return self._model_ready(asked)
            return await self._handled(scope, request, receive)
        except ClientGone:
            raise
        except ServingError as error:
            return refusal(error)

    async def _handled(self, scope: Scope, request: OipRequest, receive: Receive) -> HttpAnswer:
        handler = self._handlers.get(request.operation)
        if handler is None:
            raise Unimplemented(f"{request.operation.value} is not offered by this server")
        body = await self._body(scope, receive) if scope["method"] == "POST" else b""
        return await watched(handler(request, body), receive)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        return await unpacked_body(scope, receive, self._limits.max_body_bytes)

    async def _server(self, _: OipRequest, __: bytes) -> HttpAnswer:
        return json_document(server_metadata(self._facts.version, self._facts.extensions))

    async def _live(self, _: OipRequest, __: bytes) -> HttpAnswer:
        return json_document({"live": True})

    async def _ready(self, request: OipRequest, _: bytes) -> HttpAnswer:
        is_strict = request.parameter("strict").lower() not in NOT_STRICT
        reasons = self._facts.why_not_ready(is_strict=is_strict)
        if reasons is None:
            return json_document({"ready": True})
        if not SIGHT.get().is_whole:
            return json_document({"ready": False}, 503)
        return json_document({"ready": False, "reasons": reasons}, 503)

    async def _models(self, _: OipRequest, __: bytes) -> HttpAnswer:
        return json_document({"models": sorted(filter(SIGHT.get().shows, self._router.table.models))})

    def _model_ready(self, asked: ModelReference) -> HttpAnswer:
        error = self._facts.why_model_not_ready(asked)
        if error is None:
            return json_document({"name": asked.name, "ready": True})
        document = {"error": str(error), "name": asked.name, "ready": False}
        return json_document(document, HTTP_STATUS[error.code], error.code)

    async def _metadata(self, asked: ModelReference, signature: str, receive: Receive) -> HttpAnswer:
        route = self._facts.route_to(asked)
        query = self._facts.metadata_query(asked, route, signature).to_bytes()
        call = Call(Method.OIP_REST_METADATA, query, self._limits.timeout_s)
        answer = await watched(self._router.forward(route, call), receive)
        return of_version(metadata_response(answer), route.servable.version)

    async def _infer(self, scope: Scope, asked: ModelReference, receive: Receive) -> HttpAnswer:
        try:
            found = route_to(self._router.table, asked)
        except ServingError:
            found = self._facts.route_to(asked)  # raises, and the log notes the model
        self._router.require_room(found)
        body = await self._body(scope, receive)
        length = json_length(header(scope, LENGTH_HEADER), len(body))
        route = self._facts.route_to(asked, scope["headers"])
        body += footer(length)  # in place, where the body is in memory of its own
        call = Call(Method.OIP_REST_INFER, body, self._limits.timeout_s, tensor_at=max(0, length))
        answer = await watched(self._router.forward(route, call), receive)
        return of_version(infer_answer(answer, cors=self._limits.cors), route.servable.version)
