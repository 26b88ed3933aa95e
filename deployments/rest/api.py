"""The REST API as a raw ASGI application: path to verb, body to model server, answer to client.

The hot path only matches the path, resolves the version, and forwards the body. Bodies are parsed where the signature
is known, in the model server. Only when no version can be resolved is the body checked here, because TensorFlow Serving
reports a malformed body before an unknown model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from core.access.rights import HEALTH, WHOLE_STATUS, Right, is_probe
from core.access.visitor import STRANGER, Visitor
from core.errors import Code, ServingError
from core.openapi.document import openapi_body
from core.rest import examples as rest_examples
from core.rest import predict as rest_predict
from core.rest.connection_limits import ConnectionLimits
from core.rest.http_answer import (
    CORS_HEADERS,
    KNOWN_METHODS,
    Header,
    HttpAnswer,
    answer_of,
    error_answer,
    html_error,
    of_version,
    preflight,
    wrong_method,
)
from core.rest.metadata import status_body
from core.rest.path import INFERENCE_VERBS, RestRequest, UnconvertibleVersion, Verb, is_api, name_in, parse_request
from core.rest.readiness import liveness_body, model_list_body, readiness_body, root_body, takes_no_page
from core.rest.rights import PlacedPage, path_in, rest_rights
from core.routing.transport import Call, Method
from deployments.access.guard import SIGHT, Guard, count_refusal
from deployments.access.peer import Peer, peer_of_transport
from deployments.division.request_headers import Fields
from deployments.rest.asgi import TRANSPORT, AsgiApp, Receive, Scope, ScopedPage, Send, header
from deployments.rest.body import SMALL_BODY_BYTES, BodyTooLarge, ClientGone, discard_body, read_body
from deployments.rest.disconnect_watch import watched
from deployments.rest.followers import keeping_headers, logged, traced
from deployments.rest.protocol import KEPT, TARGET
from deployments.rest.short_request import RestApi
from deployments.routing.access_log import AccessLog
from deployments.routing.logged_headers import LoggedHeaders
from deployments.routing.request_router import RequestRouter
from deployments.routing.request_traces import RequestTraces

OWN_PAGES = frozenset({"/healthz", "/readyz", "/openapi.json"})
TOO_LARGE = 413
CLOSE = (b"connection", b"close")
KEEP_ALIVE = (b"connection", b"keep-alive")
METHOD_OF: Mapping[Verb, Method] = {
    Verb.PREDICT: Method.REST_PREDICT,
    Verb.CLASSIFY: Method.REST_CLASSIFY,
    Verb.REGRESS: Method.REST_REGRESS,
    Verb.METADATA: Method.REST_METADATA,
}


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of the REST API; a time-out of None waits without limit."""

    timeout_s: float | None = 30.0
    max_body_bytes: int = 2**31 - 1
    cors: bool = False
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)


class HttpApi:
    """Answers HTTP requests from a routing table and the model servers behind it."""

    def __init__(
        self,
        router: RequestRouter,
        limits: HttpLimits,
        token: str = "",
        pages: Mapping[str, PlacedPage] = MappingProxyType({}),
        *,
        access: AccessLog | None = None,
        traces: RequestTraces | None = None,
        others: Sequence[RestApi] = (),
        guard: Guard | None = None,
        scoped_pages: Mapping[str, ScopedPage] = MappingProxyType({}),
        kept: LoggedHeaders | None = None,
    ) -> None:
        self.router = router
        self.guard = guard
        self.others = others
        self.limits = limits
        self._token = token.encode()
        self._pages = pages
        self._scoped_pages = scoped_pages
        self.access = access
        self.kept = kept
        self.traces = traces
        self.draining = False

    def app(self) -> AsgiApp:
        """Return the ASGI application; a plain function, because a bound method is taken for ASGI 2."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await self._serve(scope, receive, send)
            elif scope["type"] == "lifespan":
                await _lifespan(receive, send)

        app: AsgiApp = application if self.kept is None else keeping_headers(application, self.kept)
        if self.access is not None:
            app = logged(app, self.access, self.others)
        return app if self.traces is None else traced(app, self.traces, self.others)

    def owner(self, target: str) -> RestApi | None:
        """Return the further API that answers a target, if one does."""
        return next((one for one in self.others if one.owns(target)), None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        await self._write(scope, receive, send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> HttpAnswer:
        target = _target(scope)
        other = self.owner(target)
        if other is None and scope["method"] not in KNOWN_METHODS:
            return html_error(501)
        if self.guard is None or not (self.guard.is_ruled or other):  # without rules, only /v2 has what needs a right
            return await self._admitted(scope, target, other, receive)
        return await self._guarded(self.guard, scope, target, other, receive)

    async def _guarded(
        self, guard: Guard, scope: Scope, target: str, other: RestApi | None, receive: Receive
    ) -> HttpAnswer:
        """Answer a request where its caller may do that; otherwise say why not, in the form of the API."""
        method, rights = scope["method"], self._rights(scope, target, other)
        visitor: Visitor | None = None
        try:
            visitor = await guard.visitor(scope["headers"], _peer(scope)) if rights else STRANGER
            for right in rights:
                visitor.require(right)
            with guard.admitted(visitor, is_counted=not is_probe(rights)):
                answer = await self._admitted(scope, target, other, receive)
        except ServingError as error:
            count_refusal(error, visitor)
            refused = _refusal(error) if other is None else other.failed(error)
            answer = replace(refused, headers=(*refused.headers, *_refusal_headers(error), *self._cors(target, other)))
        return _with_allowed_headers(answer) if method == "OPTIONS" and self.limits.cors and guard.is_ruled else answer

    def _rights(self, scope: Scope, target: str, other: RestApi | None) -> tuple[Right, ...]:
        """Return what a request needs, in the order in which `_admitted` looks for who answers it."""
        path, method = path_in(target), scope["method"]
        page = self._page(path)
        if page is not None:
            return (HEALTH if page.is_root and _takes_no_page(scope) else page.right,)
        if path in self._scoped_pages:
            return (WHOLE_STATUS,)
        return rest_rights(method, target) if other is None else other.rights(method, target)

    def _page(self, path: str) -> PlacedPage | None:
        """Return the page that answers: that of the path, or of its folder where one answers for all in it."""
        folder = self._pages.get(path[: path.find("/", 1) + 1])
        return self._pages.get(path) or (folder if folder is not None and folder.is_folder else None)

    def _cors(self, target: str, other: RestApi | None) -> tuple[Header, ...]:
        return CORS_HEADERS if self.limits.cors and (other is not None or is_api(target)) else ()

    async def _admitted(self, scope: Scope, target: str, other: RestApi | None, receive: Receive) -> HttpAnswer:
        page = self._page(path_in(target))
        if page is not None:
            if page.is_root and _takes_no_page(scope):
                return HttpAnswer(200, root_body())
            return await page.answer(scope["method"], target)
        scoped = self._scoped_pages.get(path_in(target))
        if scoped is not None:
            return await scoped(scope, target)
        if other is None and not is_api(target):
            return self._outside_api(scope["method"], target)
        work = self._counted(scope, target, receive) if other is None else other.answer(scope, target, receive)
        answer = await work
        cors = self._cors(target, other)
        return replace(answer, headers=(*answer.headers, *cors)) if cors else answer

    async def _counted(self, scope: Scope, target: str, receive: Receive) -> HttpAnswer:
        """Answer a request of the API, and count it for the model that it named."""
        method = scope["method"]
        try:
            request = None if method == "OPTIONS" else parse_request(method, target)
        except ServingError as error:
            return await self.router.counted(name_in(method, target), "REST", "", _refused(error))
        name = "" if request is None else request.name
        return await self.router.counted(name, "REST", _api_label(request), self._answered(scope, request, receive))

    async def _answered(self, scope: Scope, request: RestRequest | None, receive: Receive) -> HttpAnswer:
        """Answer a request of the API; raises ClientGone only."""
        try:
            return await self._api(scope, request, receive)
        except ClientGone:
            raise
        except ServingError as error:
            return _refusal(error)

    async def _api(self, scope: Scope, request: RestRequest | None, receive: Receive) -> HttpAnswer:
        if request is None:
            return preflight(header(scope, b"origin"))
        if request.verb is Verb.STATUS:
            return self._status(request)
        if request.verb is Verb.LIST:
            return HttpAnswer(200, model_list_body(SIGHT.get().table(self.router.table)))
        if request.verb is Verb.METADATA:
            return await self._forward(request, b"", receive)
        self._require_room(request)
        body = await read_body(scope, receive, self.limits.max_body_bytes)
        return await self._forward(request, body, receive, scope["headers"])

    def _status(self, request: RestRequest) -> HttpAnswer:
        table = self.router.table
        statuses = SIGHT.get().statuses(request.name, table.statuses(request.name, request.version))
        is_whole = request.version is None and request.label is None
        return HttpAnswer(
            200, status_body(statuses, is_ready=table.models[request.name].is_ready if is_whole else None)
        )

    def _require_room(self, request: RestRequest) -> None:
        """Refuse a request that would be refused anyway before its body is read."""
        try:
            route = self.router.table.resolve(request.name, request.version, request.label)
        except ServingError:
            return  # what is wrong with the body comes before that
        self.router.require_room(route)

    async def _forward(
        self, request: RestRequest, body: bytes, receive: Receive, fields: Fields | None = None
    ) -> HttpAnswer:
        try:
            route = self.router.resolve(request.name, request.version, request.label, fields)
        except ServingError:
            _check_body(request.verb, body)
            raise
        call = Call(METHOD_OF[request.verb], body, self.limits.timeout_s)
        answer = await watched(self.router.forward(route, call), receive)
        return of_version(answer_of(answer), route.servable.version)

    def _outside_api(self, method: str, target: str) -> HttpAnswer:
        path = path_in(target)
        if path in OWN_PAGES and method not in {"GET", "HEAD"}:
            return wrong_method(method, path)
        if path == "/healthz":
            return HttpAnswer(200, liveness_body(), ((b"content-type", b"application/json"), (b"x-app", self._token)))
        if path == "/openapi.json":
            return HttpAnswer(200, openapi_body())
        if path == "/readyz":
            is_whole = SIGHT.get().is_whole
            ready, body = readiness_body(self.router.table, draining=self.draining, has_reasons=is_whole)
            return HttpAnswer(200 if ready else 503, body)
        return html_error(404)

    def _connection(self, scope: Scope, answer: HttpAnswer) -> tuple[Header, ...]:
        """Return the `connection` header, where the default of the client's HTTP version would be wrong."""
        if CLOSE in answer.headers:
            return ()
        if self.draining:
            return (CLOSE,)
        return (KEEP_ALIVE,) if scope.get("state", {}).get(KEPT) else ()

    async def _write(self, scope: Scope, receive: Receive, send: Send, answer: HttpAnswer) -> None:
        body = b"" if scope["method"] == "HEAD" else answer.body
        headers = [*answer.headers, (b"content-length", b"%d" % len(body)), *self._connection(scope, answer)]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.status == TOO_LARGE:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await discard_body(receive)
            body = b""
        await send({"type": "http.response.body", "body": body})


def _takes_no_page(scope: Scope) -> bool:
    return scope["method"] in {"GET", "HEAD"} and takes_no_page(header(scope, b"accept").decode("latin-1"))


def _api_label(request: RestRequest | None) -> str:
    return request.verb.value if request is not None and request.verb.value in INFERENCE_VERBS else ""


async def _refused(error: ServingError) -> HttpAnswer:
    return _refusal(error)


def _refusal(error: ServingError) -> HttpAnswer:
    if isinstance(error, UnconvertibleVersion):
        return HttpAnswer(400, b"", code=error.code)
    answer = error_answer(error.code, str(error), error.retry_after_s)
    if isinstance(error, BodyTooLarge):
        return replace(answer, status=TOO_LARGE, headers=(*answer.headers, CLOSE))
    return answer


def _target(scope: Scope) -> str:
    """Return the target as it was sent; servers other than our own port drop the fragment."""
    whole: bytes | None = scope.get("state", {}).get(TARGET)
    if whole is None:
        query: bytes = scope["query_string"]
        whole = b"%b?%b" % (scope["raw_path"], query) if query else scope["raw_path"]
    return whole.decode("utf-8", "surrogateescape")


def _peer(scope: Scope) -> Peer:
    """Return the peer of a connection of our own port; of Serve's proxy, nothing is known of its client."""
    return peer_of_transport(scope.get("state", {}).get(TRANSPORT))


def _refusal_headers(error: ServingError) -> tuple[Header, ...]:
    if error.code is Code.UNAUTHENTICATED:
        return ((b"www-authenticate", b'Bearer realm="ray_model_server"'),)
    return ()


def _with_allowed_headers(answer: HttpAnswer) -> HttpAnswer:
    """Let scripts of other origins send tokens, too."""
    allowed = (b"access-control-allow-headers", b"Authorization, X-API-Key")
    return replace(answer, headers=(*answer.headers, allowed))


def _check_body(verb: Verb, body: bytes) -> None:
    """Raise the error that TensorFlow Serving reports of a body before it looks up the model."""
    if len(body) > SMALL_BODY_BYTES:
        return
    if verb is Verb.PREDICT:
        rest_predict.check_predict_body(body)
    elif verb in {Verb.CLASSIFY, Verb.REGRESS}:
        rest_examples.check_examples_body(body)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
