"""Guards the methods of a gRPC port, whichever service they are of and whichever server serves them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any

import grpc

from core.access.credentials import tells_who_calls
from core.access.rights import Right, is_probe
from core.access.visitor import Visitor
from core.errors import ServingError
from core.grpc.rights import OPEN, RULES, UNKNOWN_PATH, PathRule
from core.http2.grpc_heads import bounded_text, retry_trailers
from deployments.access.guard import Fields, Guard, count_refusal
from deployments.access.peer import ELSEWHERE, Peer, peer_of_context
from deployments.grpc.status import status_code
from deployments.system.port_claim import TOKEN_METHOD


class GuardedCalls:
    """Finds out whether calls may be answered; `more` has the rules of further services."""

    def __init__(self, guard: Guard, more: Mapping[str, PathRule] = MappingProxyType({})) -> None:
        self._guard = guard
        self._rules = {**RULES, **more, TOKEN_METHOD: OPEN}

    def rule(self, path: str) -> PathRule:
        """Return what calls of a path need; nothing where this guard lets everyone in who calls it."""
        rule = self._rules.get(path, UNKNOWN_PATH)
        is_asked = self._guard.is_ruled or (rule.right is not None and rule.right.is_own_admin)
        return rule if is_asked else OPEN

    def refusal(self, path: str, fields: Fields, peer: Peer) -> ServingError | None:
        """Return why a call is refused whatever its message is, so that nobody need keep that; counts the refusal.

        None for one that may be answered, and for one of which only its message, or a slow hash, tells.
        """
        right = self.rule(path).right
        visitor = None if right is None else self._guard.known_visitor(fields, peer)
        if right is None or visitor is None:
            return None
        try:
            visitor.require(right)
        except ServingError as error:
            count_refusal(error, visitor)
            return error
        return None

    async def admission(self, rule: PathRule, request: Any, metadata: Any, peer: Peer = ELSEWHERE) -> ExitStack:
        """Return the admission of a call that may be answered, which counts as in work until that is closed.

        Raises ServingError for a call that may not.
        A message is read only where its caller may do what its path says, for some model.
        """
        visitor: Visitor | None = None
        rights = [] if rule.right is None else [rule.right]
        try:
            visitor = await self._guard.visitor(_fields(metadata), peer)
            _require(visitor, rights)
            if rule.by_message is not None:
                rights = [*rights, *rule.by_message(request)]
                _require(visitor, rights)
            entered = ExitStack()
            entered.enter_context(self._guard.admitted(visitor, is_counted=not is_probe(rights)))
        except ServingError as error:
            count_refusal(error, visitor)
            raise
        return entered


def _require(visitor: Visitor, rights: Iterable[Right]) -> None:
    for right in rights:
        visitor.require(right)


def _fields(metadata: Any) -> list[tuple[bytes, bytes]]:
    """Return the metadata that tells who calls, as headers."""
    named = ((key.encode("latin-1", "replace"), value) for key, value in metadata or ())
    return [
        (name, value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for name, value in named
        if tells_who_calls(name)
    ]


class GuardedServer:
    """Stands for a server while services are added to it, and guards their methods."""

    def __init__(self, server: Any, calls: GuardedCalls) -> None:
        self._server = server
        self._calls = calls

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Serve these methods, guarded."""
        self._server.add_generic_rpc_handlers(tuple(_GuardedHandlers(one, self._calls) for one in handlers))

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Ignore what generated code registers beside its generic handlers: a server must not find it first."""


class _GuardedHandlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # no hints
    """The handlers of a service, with a guard before those that need one."""

    def __init__(self, handlers: grpc.GenericRpcHandler, calls: GuardedCalls) -> None:
        self._handlers = handlers
        self._calls = calls
        self._made: dict[str, grpc.RpcMethodHandler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        path = handler_call_details.method
        made = self._made.get(path)
        if made is not None:
            return made
        handler = self._handlers.service(handler_call_details)
        if handler is None:
            return None
        rule = self._calls.rule(path)
        self._made[path] = handler if rule is OPEN else _guarded(handler, rule, self._calls)
        return self._made[path]


def _guarded(handler: grpc.RpcMethodHandler, rule: PathRule, calls: GuardedCalls) -> grpc.RpcMethodHandler:
    """Return a handler that answers only those who may call it."""
    made = _streaming if handler.response_streaming else _unary
    kind = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return kind(made(handler, rule, calls), handler.request_deserializer, handler.response_serializer)


async def _entered(rule: PathRule, calls: GuardedCalls, request: Any, context: Any) -> ExitStack:
    """Return the admission of a call, which counts already; ends a call that may not be answered."""
    try:
        return await calls.admission(rule, request, context.invocation_metadata(), peer_of_context(context))
    except ServingError as error:
        await context.abort(status_code(error.code), bounded_text(str(error)), retry_trailers(error.retry_after_s))
        raise  # a context that does not end the call


def _unary(handler: grpc.RpcMethodHandler, rule: PathRule, calls: GuardedCalls) -> Any:
    answer = handler.stream_unary if handler.request_streaming else handler.unary_unary

    async def guarded(request: Any, context: Any) -> Any:
        with await _entered(rule, calls, request, context):
            return await answer(request, context)

    return guarded


def _streaming(handler: grpc.RpcMethodHandler, rule: PathRule, calls: GuardedCalls) -> Any:
    answers = handler.stream_stream if handler.request_streaming else handler.unary_stream

    async def guarded(request: Any, context: Any) -> None:
        with await _entered(rule, calls, request, context):
            given = answers(request, context)
            if not isinstance(given, AsyncIterator):
                await given
                return
            async for one in given:
                await context.write(one)

    return guarded
