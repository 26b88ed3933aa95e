"""The REST API as a raw ASGI application: path to verb, body to model server, answer to client.

The hot path does no more than match the path, resolve the version, and forward the body. Bodies are parsed where the
signature is known, in the model server; only when no version can be resolved is the body checked here, because
TensorFlow Serving reports a malformed body before an unknown model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from core import rest_examples, rest_predict
from core.errors import InvalidArgument, ServingError
from core.http_answer import (
    CORS_HEADERS,
    HttpAnswer,
    answer_of,
    error_answer,
    html_error,
    preflight,
    unzipped,
)
from core.metadata_json import status_body
from core.openapi import openapi_body
from core.readiness import liveness_body, model_list_body, readiness_body
from core.rest_path import RestRequest, UnconvertibleVersion, Verb, is_api, parse
from core.transport import Call, Method
from deployments.request_router import RequestRouter

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

METHOD_OF: Mapping[Verb, Method] = {
    Verb.PREDICT: Method.REST_PREDICT,
    Verb.CLASSIFY: Method.REST_CLASSIFY,
    Verb.REGRESS: Method.REST_REGRESS,
    Verb.METADATA: Method.REST_METADATA,
}
DISCONNECT_WATCH_AFTER_S = 0.5
"""Only a call that takes this long is worth a look whether its client is still there."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What the REST API allows; a time-out of None waits for ever."""

    timeout_s: float | None = 30.0
    max_body_bytes: int = 2**31 - 1
    cors: bool = False


class BodyTooLarge(InvalidArgument):
    """The body exceeds the configured limit; the rest of it is not read."""


class ClientGone(Exception):
    """The client closed its connection; nobody waits for the answer."""


class HttpApi:
    """Answers HTTP requests from a routing table and the model servers behind it."""

    def __init__(self, router: RequestRouter, limits: HttpLimits, token: str = "") -> None:
        self._router = router
        self._limits = limits
        self._token = token.encode()
        self.draining = False

    def app(self) -> AsgiApp:
        """Give the ASGI application; a plain function, because a bound method is taken for ASGI 2."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._serve(scope, receive, send)
            elif scope["type"] == "lifespan":
                await _lifespan(receive, send)

        return application

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        await self._write(scope, send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> HttpAnswer:
        target = scope["raw_path"].decode("utf-8", "surrogateescape")
        query: bytes = scope["query_string"]
        if query:
            target = f"{target}?{query.decode('utf-8', 'surrogateescape')}"
        if not is_api(target):
            return self._outside_api(scope["method"], target)
        try:
            answer = await self._api(scope, target, receive)
        except UnconvertibleVersion:
            answer = HttpAnswer(400, b"")
        except BodyTooLarge as error:
            refused = error_answer(error.code, str(error))
            answer = HttpAnswer(413, refused.body, (*refused.headers, (b"connection", b"close")))
        except ServingError as error:
            answer = error_answer(error.code, str(error))
        if self._limits.cors:
            return HttpAnswer(answer.status, answer.body, (*answer.headers, *CORS_HEADERS))
        return answer

    async def _api(self, scope: Scope, target: str, receive: Receive) -> HttpAnswer:
        method: str = scope["method"]
        if method == "OPTIONS":
            return preflight(_header(scope, b"origin"))
        if method in {"TRACE", "CONNECT"}:
            return html_error(501)
        request = parse(method, target)
        if request.verb is Verb.STATUS:
            return HttpAnswer(200, status_body(self._router.table.statuses(request.name, request.version)))
        if request.verb is Verb.LIST:
            return HttpAnswer(200, model_list_body(self._router.table))
        if request.verb is Verb.METADATA:
            return await self._forward(request, b"", receive)
        return await self._forward(request, await self._body(scope, receive), receive)

    async def _forward(self, request: RestRequest, body: bytes, receive: Receive) -> HttpAnswer:
        try:
            route = self._router.table.resolve(request.name, request.version, request.label)
        except ServingError:
            _check_body(request.verb, body)
            raise
        call = Call(METHOD_OF[request.verb], body, self._limits.timeout_s)
        watch = _DisconnectWatch(receive)
        try:
            answer = await self._router.forward(route, call)
        except asyncio.CancelledError:
            if watch.client_gone:
                raise ClientGone from None
            raise
        finally:
            watch.stop()
        return answer_of(answer.code, answer.body)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._limits.max_body_bytes
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if message.get("more_body", False):
            body = await _rest_of_body(body, receive, limit)
        if b"gzip" in _header(scope, b"content-encoding"):
            return unzipped(body)
        return body

    def _outside_api(self, method: str, target: str) -> HttpAnswer:
        path = target.partition("?")[0]
        if method in {"TRACE", "CONNECT"}:
            return html_error(501)
        if method in {"GET", "HEAD"} and path == "/healthz":
            return HttpAnswer(200, liveness_body(), ((b"content-type", b"application/json"), (b"x-app", self._token)))
        if method in {"GET", "HEAD"} and path == "/openapi.json":
            return HttpAnswer(200, openapi_body())
        if method in {"GET", "HEAD"} and path == "/readyz":
            ready, body = readiness_body(self._router.table, draining=self.draining)
            return HttpAnswer(200 if ready else 503, body)
        return html_error(404)

    async def _write(self, scope: Scope, send: Send, answer: HttpAnswer) -> None:
        body = b"" if scope["method"] == "HEAD" else answer.body
        headers = [*answer.headers, (b"content-length", b"%d" % len(body))]
        if self.draining and (b"connection", b"close") not in headers:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _DisconnectWatch:
    """Cancels the request's task when its client has gone; costs one timer as long as the call is quick."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._request = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(DISCONNECT_WATCH_AFTER_S, self._begin)
        self.client_gone = False

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        if self._request is not None:
            self._request.cancel()

    def stop(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


def _check_body(verb: Verb, body: bytes) -> None:
    """Raise the error that TensorFlow Serving finds in a body before it looks for the model."""
    if verb is Verb.PREDICT:
        rest_predict.check_envelope(body)
    elif verb in {Verb.CLASSIFY, Verb.REGRESS}:
        rest_examples.check_envelope(body, verb.value)


async def _rest_of_body(first: bytes, receive: Receive, limit: int) -> bytes:
    body = bytearray(first)
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return bytes(body)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than the limit of {limit} bytes (--rest_api_max_body_bytes).")


def _header(scope: Scope, name: bytes) -> bytes:
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
