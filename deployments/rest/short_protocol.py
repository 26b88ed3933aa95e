"""The short way of an inference request: from the parser straight to a direct connection, and back in one write.

A request that names a model, has a body of known size and no unusual header needs neither a task nor an ASGI scope nor
a queue: for a tiny model these would be most of the work, and a large body would be copied at each of these stations.
All others, and those that turn out to need more (an unknown model, a busy connection, a replica that is gone), take the
long way through uvicorn and `deployments.rest.api`, which gives the same answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from core.access.rights import INFER
from core.errors import ServingError
from core.rest.http_answer import CORS_HEADERS, JSON, HttpAnswer, version_header
from core.rest.path import parse_request
from core.rest.request_head import is_host
from deployments.access.peer import Peer, peer_of_transport
from deployments.rest.api import METHOD_OF, HttpApi
from deployments.rest.asgi import TRANSPORT
from deployments.rest.protocol import RestProtocol
from deployments.rest.short_request import RestApi, ShortRequest, Wanted
from deployments.routing.access_log import SAMPLED
from deployments.routing.request_traces import TRACED

LARGEST_COPIED_BYTES = 16 * 1024
"""A larger body of an answer is not copied to be written together with its head."""
MOST_KNOWN_TARGETS = 1000
LONGEST_KNOWN_TARGET_BYTES = 512

LARGEST_READ_BYTES = 64 * 1024
"""A larger body is not waited for where it will be refused."""

UNUSUAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers that only the long way understands."""


class KnownTargets:
    """The targets of inference requests, each parsed once; `others` are the further APIs of the port."""

    def __init__(self, others: Sequence[RestApi] = ()) -> None:
        self._others = others
        self._requests: dict[bytes, Wanted] = {}

    def get(self, target: bytes) -> Wanted | None:
        """Return the meaning of a POST to this target; None for anything but an inference request."""
        return self._requests.get(target) or self._learn(target)

    def _learn(self, target: bytes) -> Wanted | None:
        if len(target) > LONGEST_KNOWN_TARGET_BYTES:
            return None
        wanted = self._parsed(target.decode("utf-8", "surrogateescape"))
        if wanted is None:
            return None
        if len(self._requests) >= MOST_KNOWN_TARGETS:
            self._requests.clear()
        self._requests[target] = wanted
        return wanted

    def _parsed(self, target: str) -> Wanted | None:
        if target.startswith("/v1/models/"):
            return _wanted(target)
        return next((one.wanted(target) for one in self._others if one.owns(target)), None)


def _wanted(target: str) -> Wanted | None:
    """Return the meaning of a POST to TensorFlow Serving's API; None for anything but an inference request."""
    try:
        request = parse_request("POST", target)
    except ServingError:
        return None
    return Wanted(request, METHOD_OF[request.verb], request.verb.value)


class Heads:
    """The heads of good answers: the same for all of a version until the clock of the `Date` header moves on."""

    def __init__(self, *, cors: bool) -> None:
        self._own = (JSON, *CORS_HEADERS) if cors else (JSON,)
        self._defaults: list[tuple[bytes, bytes]] | None = None
        self._good: dict[int, bytes] = {}

    def good(self, defaults: list[tuple[bytes, bytes]], version: int) -> bytes:
        """Return the head up to the value of `content-length`; uvicorn replaces `defaults` as a whole."""
        if defaults is not self._defaults:
            self._defaults = defaults
            self._good.clear()
        return self._good.get(version) or self._new_good(defaults, version)

    def _new_good(self, defaults: list[tuple[bytes, bytes]], version: int) -> bytes:
        lines = head_lines(200, [*defaults, *self._own, version_header(version)])
        head = self._good[version] = lines + b"content-length: "
        return head


def head_lines(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a status line and headers, without the empty line after them."""
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])


class ShortProtocol(RestProtocol):
    """One connection of a client; takes the short way wherever it can."""

    def __init__(
        self,
        api: HttpApi,
        known: KnownTargets,
        heads: Heads,
        *,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config=config, server_state=server_state, app_state=app_state, _loop=_loop)
        self._api = api
        self._known = known
        self._heads = heads
        self._begun: ShortRequest | None = None
        self.limits = api.limits.connection
        self._host: bytes | None = None

    def on_headers_complete(self) -> None:
        """Choose the way."""
        wanted = None if self.is_offer() else self._short_request()
        if wanted is None:
            self._begin_the_long_way()
            return
        self._framed_at = self._fed
        self._in_body = True
        self.most_kept_bytes = self._api.limits.max_body_bytes
        self.cycle = wanted.kind(self, self._api.router, wanted)  # type: ignore[assignment]  # it has what uvicorn asks of a cycle

    def _short_request(self) -> Wanted | None:
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        wanted = self._known.get(self.url)
        parser = self.parser
        if wanted is None or parser.get_method() != b"POST" or not parser.should_keep_alive():
            return None
        if parser.get_http_version() != "1.1" or self.flow.write_paused or self._api.draining:
            return None
        if not self._has_usual_body():
            return None
        limits = self._api.router.limits
        if limits.by_model and self.body_left > LARGEST_READ_BYTES and limits.is_full(wanted.request.name):
            return None  # the long way refuses it before its body has come
        return wanted

    def _has_usual_body(self) -> bool:
        length = -1
        host = None
        for name, value in self.headers:
            if name in UNUSUAL or (name == b"host" and host is not None):
                return False
            if name == b"content-length":
                length = int(value)
            elif name == b"host":
                host = value
        self.body_left = length
        if host != self._host or host is None:
            if host is None or not is_host(host):
                return False
            self._host = host
        return 0 <= length <= self._api.limits.max_body_bytes

    def on_message_complete(self) -> None:
        """Send a complete request, if it takes the short way."""
        super().on_message_complete()
        short = self.cycle
        if isinstance(short, ShortRequest) and not short.is_open and not short.response_complete:
            self._begin(short)

    def _begin(self, short: ShortRequest) -> None:
        self._unanswered += 1
        self._begun = short
        if short.begin(self._api.limits.timeout_s):
            short.body = bytearray()  # the call has it now, and not longer than it needs it
            return
        self._unanswered -= 1
        self._begun = None
        self._take_the_long_way(short.taken())

    def _begin_the_long_way(self) -> None:
        self.most_kept_bytes = HIGH_WATER_LIMIT
        self.scope["state"][TRANSPORT] = self.transport
        super().on_headers_complete()

    def _take_the_long_way(self, body: bytes) -> None:
        self.cycle = None  # type: ignore[assignment]  # as before the first request
        self._begin_the_long_way()
        if isinstance(body, bytearray):
            self.cycle.body = body
            self.cycle.message_event.set()
        elif body:
            super().on_body(body)
        super().on_message_complete()

    def succeeded(self, short: ShortRequest, body: bytes | bytearray | memoryview) -> None:
        """Write a good answer, and go on with the connection."""
        self._write(short, self._heads.good(self.server_state.default_headers, short.version), body)

    def answered(self, short: ShortRequest, answer: HttpAnswer) -> None:
        """Write any other answer, and go on with the connection."""
        cors = CORS_HEADERS if self._api.limits.cors else ()
        headers = (*self.server_state.default_headers, *answer.headers, *cors)
        self._write(short, head_lines(answer.status, headers) + b"content-length: ", answer.body)

    def _write(self, short: ShortRequest, head: bytes, body: bytes | bytearray | memoryview) -> None:
        self._begun = None
        is_last = self._api.draining or not short.keep_alive
        end = b"\r\nconnection: close\r\n\r\n" if is_last else b"\r\n\r\n"
        whole_head = b"%b%d%b" % (head, len(body), end)
        if len(body) <= LARGEST_COPIED_BYTES:
            self.transport.write(whole_head + body)
        else:
            self.transport.writelines((whole_head, body))
        if is_last:
            self.transport.close()
        self.on_response_complete()

    def forget(self) -> None:
        """Forget the request that was begun: its client has gone."""
        self._begun = None

    def refusal_page(self, status: int) -> HttpAnswer:
        """Return the page of the API that answers the target, where its request has one."""
        target = b"" if self.headers is None else self.url
        other = self._api.owner(target.decode("utf-8", "surrogateescape"))
        return super().refusal_page(status) if other is None else other.refused(status)

    def connection_lost(self, exc: Exception | None) -> None:
        """Withdraw the request whose client has gone."""
        super().connection_lost(exc)
        if self._begun is not None:
            self._begun.withdraw()


class FollowedProtocol(ShortProtocol):
    """A connection of which some requests are logged or traced, or have headers to keep; those take the long way."""

    def _short_request(self) -> Wanted | None:
        state, access, traces = self.scope["state"], self._api.access, self._api.traces
        chosen = access is not None and access.is_chosen()
        span = None if traces is None else traces.begin(self.headers)
        state[SAMPLED], state[TRACED] = chosen, span
        is_kept = self._api.kept is not None and self._api.kept.are_in(self.headers)
        return None if chosen or span is not None or is_kept else super()._short_request()


class GuardedProtocol(FollowedProtocol):
    """A connection to a port with an access file; requests that are not let in at once take the long way."""

    _peer: Peer | None = None

    def _short_request(self) -> Wanted | None:
        wanted, guard = super()._short_request(), self._api.guard
        if wanted is None or guard is None:
            return None
        if self._peer is None:
            self._peer = peer_of_transport(self.transport)
        visitor = guard.quick_visitor(self.headers, self._peer)
        if visitor is None:
            return None
        try:
            visitor.require(INFER.of(wanted.request.name))
        except ServingError:
            return None
        return wanted


def protocol_factory(api: HttpApi) -> Any:
    """Return the factory of uvicorn's protocols for one REST port."""
    known, heads = KnownTargets(api.others), Heads(cors=api.limits.cors)
    kind = _kind(api)

    def make(**of_uvicorn: Any) -> ShortProtocol:
        return kind(api, known, heads, **of_uvicorn)

    return make


def _kind(api: HttpApi) -> type[ShortProtocol]:
    if api.guard is not None and api.guard.is_ruled:
        return GuardedProtocol
    is_followed = api.access is not None or api.traces is not None or api.kept is not None
    return FollowedProtocol if is_followed else ShortProtocol
