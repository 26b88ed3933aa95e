"""The REST API of the Open Inference Protocol, below /v2 on the REST port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from core.errors import Code, Internal, ServingError, Unimplemented
from core.oip.metadata import server_metadata
from core.oip.path import OipRequest, Operation, WrongMethod, is_oip, parse_oip_request
from core.oip.rest_body import JSON_LENGTH_HEADER, LENGTH_BYTES, footer, json_length
from core.rest.http_answer import JSON, HttpAnswer
from core.routing.transport import Call, Method
from deployments.oip.http_answers import infer_answer, json_document, refusal
from deployments.oip.server_facts import ServerFacts
from deployments.oip.short_infer import INFER, ShortInfer
from deployments.rest.api import HttpLimits
from deployments.rest.asgi import Receive, Scope, header
from deployments.rest.body import ClientGone, read_body
from deployments.rest.disconnect_watch import DisconnectWatch
from deployments.rest.short_request import Wanted

LENGTH_HEADER = JSON_LENGTH_HEADER.lower().encode()

Handler: TypeAlias = Callable[[OipRequest, bytes], Awaitable[HttpAnswer]]
"""Answers a request of an extension and its body, which is empty for GET; raises ServingError."""


class OipRest:
    """Answers requests below /v2; implements `deployments.rest.short_request.RestApi`.

    `handlers` answer the operations of extensions (statistics, model repository); one without a handler is not offered.
    """

    def __init__(
        self, facts: ServerFacts, limits: HttpLimits, handlers: Mapping[Operation, Handler] = MappingProxyType({})
    ) -> None:
        self._facts = facts
        self._handlers = handlers
        self._router = facts.router
        self._limits = limits

    def owns(self, target: str) -> bool:
        return is_oip(target)

    def wanted(self, target: str) -> Wanted | None:
        try:
            request = parse_oip_request("POST", target)
        except ServingError:
            return None
        if request.operation is not Operation.INFER or request.model is None:
            return None
        return Wanted(request.model, Method.OIP_REST_INFER, INFER, ShortInfer)

    async def answer(self, scope: Scope, target: str, receive: Receive) -> HttpAnswer:
        try:
            request = parse_oip_request(scope["method"], target)
        except WrongMethod as error:
            refused = refusal(error)
            return HttpAnswer(405, refused.body, (JSON, (b"allow", error.allowed.encode())), error.code)
        except ServingError as error:
            return refusal(error)
        if request.operation is not Operation.INFER:
            return await self._answered(scope, request, receive)
        return await self._router.counted(request.name, "REST", INFER, self._answered(scope, request, receive))

    async def _answered(self, scope: Scope, request: OipRequest, receive: Receive) -> HttpAnswer:
        """Answer a request; raises ClientGone only."""
        try:
            return await self._of(scope, request, receive)
        except ClientGone:
            raise
        except ServingError as error:
            return refusal(error)

    async def _of(self, scope: Scope, request: OipRequest, receive: Receive) -> HttpAnswer:
        operation = request.operation
        if operation is Operation.INFER:
            return await self._infer(scope, request, receive)
        if operation is Operation.SERVER:
            return json_document(server_metadata(self._facts.version, self._facts.extensions))
        if operation is Operation.LIVE:
            return json_document({"live": True})
        if operation is Operation.READY:
            is_ready = self._facts.is_ready
            return json_document({"ready": is_ready}, 200 if is_ready else 503)
        if operation is Operation.MODELS:
            return json_document({"models": sorted(self._router.table.models)})
        handler = self._handlers.get(operation)
        if handler is not None:
            is_get = scope["method"] in {"GET", "HEAD"}
            body = b"" if is_get else await read_body(scope, receive, self._limits.max_body_bytes)
            return await handler(request, body)
        return await self._of_model(request)

    async def _of_model(self, request: OipRequest) -> HttpAnswer:
        if request.model is None or request.operation not in {Operation.METADATA, Operation.MODEL_READY}:
            raise Unimplemented(f"{request.operation.value} is not offered here")
        if request.operation is Operation.MODEL_READY:
            is_ready = self._facts.is_model_ready(request.model)
            return json_document({"name": request.name, "ready": is_ready}, 200 if is_ready else 503)
        route = self._facts.route_to(request.model)
        query = self._facts.metadata_query(request.model, route, request.parameter("signature_name"))
        answer = await self._router.forward(
            route, Call(Method.OIP_REST_METADATA, query.to_bytes(), self._limits.timeout_s)
        )
        if answer.code is not Code.OK:
            return infer_answer(answer)
        return HttpAnswer(200, answer.body)

    async def _infer(self, scope: Scope, request: OipRequest, receive: Receive) -> HttpAnswer:
        if request.model is None:
            raise Internal("an inference request names a model")
        body = await read_body(scope, receive, self._limits.max_body_bytes, LENGTH_BYTES)
        length = json_length(header(scope, LENGTH_HEADER), len(body))
        route = self._facts.route_to(request.model)
        body += footer(length)
        call = Call(Method.OIP_REST_INFER, body, self._limits.timeout_s, tensor_at=max(0, length))
        watch = DisconnectWatch(receive)
        try:
            return infer_answer(await self._router.forward(route, call))
        except asyncio.CancelledError:
            if watch.client_gone:
                raise ClientGone from None
            raise
        finally:
            watch.stop()
