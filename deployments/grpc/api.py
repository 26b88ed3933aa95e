"""The gRPC services: bytes in, bytes out. No tensor is parsed here; only the model spec is read.

`GrpcApi.answer` is the one way in: for the handlers of our own port, and for the router's methods that Serve's own gRPC
proxy calls. Both leave requests and responses as bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import grpc

from core.admin import messages as admin_messages
from core.errors import Code, ServingError, Unimplemented
from core.grpc.metadata import check_metadata_request
from core.grpc.model_spec import ModelSpecRef, peek, peek_task
from core.grpc.rights import OPEN
from core.http2.grpc_heads import bounded_text
from core.routing.transport import Answer, Call, Method
from core.versions.status_message import status_response
from deployments.access.guard import SIGHT, Guard, LocalGuard
from deployments.division.request_headers import CALL_FIELDS, MetadataFields
from deployments.grpc.guarded import GuardedCalls
from deployments.grpc.services import SHORT_METHODS, Answering, GrpcAnswer, GrpcService, ShortMethod
from deployments.grpc.status import status_code
from deployments.routing.access_log import AccessEntry, AccessLog
from deployments.routing.logged_headers import LoggedHeaders
from deployments.routing.request_router import RequestRouter
from deployments.routing.request_traces import RequestTraces
from deployments.system.port_claim import TOKEN_METHOD

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
SESSION_SERVICE = "tensorflow.serving.SessionService"
ADMIN_SERVICE = admin_messages.SERVICE
TOKEN_SERVICE, TOKEN = TOKEN_METHOD.removeprefix("/").split("/")

SERVICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        PREDICTION_SERVICE: ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"),
        MODEL_SERVICE: ("GetModelStatus", "HandleReloadConfigRequest"),
        SESSION_SERVICE: ("SessionRun",),
        ADMIN_SERVICE: ("GetConfig", "ChangeConfig", "GetStatus", "Profile", "ChangeRollout"),
        TOKEN_SERVICE: (TOKEN,),
    }
)

Reload = Callable[[bytes], Awaitable[bytes]]


PendingAnswer = Coroutine[Any, Any, GrpcAnswer]
"""A call that is being answered."""


class GrpcApi:
    """Answers gRPC calls from a routing table and the model servers behind it."""

    def __init__(
        self,
        router: RequestRouter,
        token: str,
        reload: Reload,
        *,
        session_run: bool = False,
        most_calls: int = 0,
        access: AccessLog | None = None,
        traces: RequestTraces | None = None,
        admin: Mapping[str, Reload] = MappingProxyType({}),
        others: Sequence[GrpcService] = (),
        guard: Guard | None = None,
        kept: LoggedHeaders | None = None,
    ) -> None:
        self.guard: Guard = guard or LocalGuard()
        self.guarded_calls = GuardedCalls(
            self.guard, {path: rule for one in others for path, rule in one.rules.items()}
        )
        self._router = router
        self._token = token.encode()
        self._reload = reload
        self._session_run = session_run
        self._most_calls = most_calls
        self._access = access
        self._traces = traces
        self._kept = kept
        self._calls = 0
        self._others = others
        self._services = {**SERVICES, **{other.name: tuple(other.methods) for other in others}}
        self._asked = {
            one.api: one.asked for one in (*SHORT_METHODS, *(one for other in others for one in other.short))
        }
        # Methods of further services are also found by their service, as names may be the same in several.
        further = [(service.name, method, work) for service in others for method, work in service.methods.items()]
        self._methods: Mapping[str, Answering] = {
            **{f"{service}/{method}": work for service, method, work in further},
            **{method: work for _, method, work in further},
            **{one.api: self._counted(one.api, one.method) for one in SHORT_METHODS},
            "MultiInference": self._forwarding(Method.MULTI_INFERENCE, peek_task),
            "GetModelMetadata": self._forwarding(Method.GET_MODEL_METADATA, _metadata_spec),
            "SessionRun": self._forwarding(Method.SESSION_RUN, self._session_spec),
            "GetModelStatus": self._status,
            "HandleReloadConfigRequest": self._reload_config,
            TOKEN: self._give_token,
            **{method: _handing_over(answer) for method, answer in admin.items()},
        }

    @property
    def router(self) -> RequestRouter:
        """The router that carries inference calls."""
        return self._router

    @property
    def others(self) -> Sequence[str]:
        """The names of the services beside TensorFlow Serving's and our own."""
        return [other.name for other in self._others]

    def short_methods(self) -> Mapping[str, ShortMethod]:
        """Return the methods, by path, that need no handler; none where calls are bounded or followed."""
        if self._most_calls or self._access is not None or self._traces is not None or self._kept is not None:
            return {}
        services = ((PREDICTION_SERVICE, SHORT_METHODS), *((other.name, other.short) for other in self._others))
        return {f"/{service}/{one.api}": one for service, methods in services for one in methods}

    async def answer(self, method: str, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        """Answer one call; never raises ServingError. `timeout_s`: seconds until the caller's deadline."""
        answered = self._methods.get(method)
        if answered is None:
            return GrpcAnswer(Code.UNIMPLEMENTED, f"{method} is not offered here.")
        try:
            return await answered(raw, timeout_s)
        except ServingError as error:
            return GrpcAnswer(error.code, bounded_text(str(error)), retry_after_s=error.retry_after_s)

    def answer_traced(self, method: str, raw: bytes, metadata: Iterable[Any]) -> PendingAnswer:
        """Answer a call of Serve's own proxy, which does not pass deadlines on; in a span if it is traced."""
        service = next((name for name, methods in self._services.items() if method in methods), "")
        work: PendingAnswer = self._answered_to(f"/{service}/{method}", raw, metadata)
        if self._kept is not None:
            work = self._kept.around(metadata, work)
        if self._traces is None:
            return work
        return self._traces.of_call(f"{service}/{method}", partial(self._signature, method, raw), metadata, work)

    async def _answered_to(self, path: str, raw: bytes, metadata: Iterable[Any]) -> GrpcAnswer:
        """Answer a call of which nothing is known but its metadata; never raises ServingError."""
        CALL_FIELDS.set(MetadataFields(lambda: metadata))
        rule, method = self.guarded_calls.rule(path), path.rpartition("/")[2]
        if rule is OPEN:
            return await self.answer(method, raw, None)
        try:
            with await self.guarded_calls.admission(rule, raw, metadata):
                return await self.answer(method, raw, None)
        except ServingError as error:
            return GrpcAnswer(error.code, bounded_text(str(error)), retry_after_s=error.retry_after_s)

    def _signature(self, method: str, raw: bytes) -> str:
        """Return the signature that a call asks for; empty where only parsing tensors would show it."""
        asked = self._asked.get(method)
        try:
            return "" if asked is None else asked(raw).signature
        except ServingError:
            return ""

    def _counted(self, api: str, method: Method) -> Answering:
        """Return a handler that forwards and counts a call (TensorFlow Serving counts these three methods)."""

        async def forward(raw: bytes, timeout_s: float | None) -> GrpcAnswer:
            try:
                spec = peek(raw)
            except ServingError as error:
                return await self._router.counted("", "GRPC", api, failed_call(error))
            return await self._router.counted(spec.name, "GRPC", api, self._forward(method, spec, raw, timeout_s))

        return forward

    def _forwarding(self, method: Method, spec_of: Callable[[bytes], ModelSpecRef]) -> Answering:
        async def forward(raw: bytes, timeout_s: float | None) -> GrpcAnswer:
            return await self._forward(method, spec_of(raw), raw, timeout_s)

        return forward

    async def _forward(self, method: Method, spec: ModelSpecRef, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        fields = None if method is Method.GET_MODEL_METADATA else CALL_FIELDS.get()
        route = self._router.resolve(spec.name, spec.version, spec.label, fields)
        return grpc_answer(await self._router.forward(route, Call(method, raw, timeout_s)))

    def _session_spec(self, raw: bytes) -> ModelSpecRef:
        if not self._session_run:
            raise Unimplemented("SessionRun is switched off; --enable_session_run switches it on.")
        return peek(raw)

    async def _status(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        spec = peek(raw)
        entries = self._router.table.statuses(spec.name, spec.version)
        return GrpcAnswer(Code.OK, body=status_response(SIGHT.get().statuses(spec.name, entries)))

    async def _reload_config(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        return GrpcAnswer(Code.OK, body=await self._reload(raw))

    async def _give_token(self, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del raw, timeout_s
        return GrpcAnswer(Code.OK, body=self._token)

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the handlers of all services, for `server.add_generic_rpc_handlers`."""
        return tuple(
            service_handler(name, {method: self._handler(name, method) for method in methods})
            for name, methods in self._services.items()
        )

    def _handler(self, service: str, method: str) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
        answered = self._bounded_in(service, method)
        known_as = f"{service}/{method}" if f"{service}/{method}" in self._methods else method
        access, traces = (self._access, self._traces) if method != TOKEN else (None, None)

        async def handle(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
            CALL_FIELDS.set(MetadataFields(context.invocation_metadata))
            work = answered(known_as, raw, context.time_remaining())
            if self._kept is not None:
                work = self._kept.around(context.invocation_metadata() or (), work)
            if access is not None and access.is_chosen():
                entry = AccessEntry("grpc", method, signature=self._signature(method, raw), bytes_in=len(raw))
                work = access.of_call(entry, context.invocation_metadata() or (), work)
            if traces is not None:
                signature = partial(self._signature, method, raw)
                work = traces.of_call(f"{service}/{method}", signature, context.invocation_metadata() or (), work)
            answer = await work
            if answer.code is not Code.OK:
                # Sends the status and nothing else; a client's own policy repeats a call only then.
                await context.abort(status_code(answer.code), answer.message, answer.trailers)
            return answer.body

        return handle

    def _bounded_in(self, service: str, method: str) -> Callable[[str, bytes, float | None], PendingAnswer]:
        """Return what answers a method of a service: with the bound of calls in work, if it has one."""
        other = next((other for other in self._others if other.name == service), None)
        is_probe = method == TOKEN if other is None else method in other.probes
        if is_probe or not self._most_calls:
            return self.answer
        return partial(self._bounded, Code.RESOURCE_EXHAUSTED if other is None else other.overload)

    async def _bounded(self, overload: Code, method: str, raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        """Answer a call of our own port, unless too many are in work.

        gRPC has such a bound, but counts watchers of the health service too, and would refuse its probes.
        """
        if self._calls >= self._most_calls:
            text = f"{self._most_calls} calls are in work, which is the limit (--grpc_max_threads)."
            return GrpcAnswer(overload, text)
        self._calls += 1
        try:
            return await self.answer(method, raw, timeout_s)
        finally:
            self._calls -= 1


def grpc_answer(answer: Answer) -> GrpcAnswer:
    """Return a model server's answer as a gRPC answer."""
    if answer.code is Code.OK:
        return GrpcAnswer(Code.OK, body=bytes(answer.body))
    return GrpcAnswer(answer.code, bounded_text(answer.text), retry_after_s=answer.retry_after_s)


async def failed_call(error: ServingError) -> GrpcAnswer:
    """Fail as a call does whose request cannot be read."""
    raise error


def _handing_over(answer: Reload) -> Answering:
    async def handed_over(raw: bytes, timeout_s: float | None) -> GrpcAnswer:
        del timeout_s
        return GrpcAnswer(Code.OK, body=await answer(raw))

    return handed_over


def _metadata_spec(raw: bytes) -> ModelSpecRef:
    """Read the model spec of GetModelMetadata, whose other fields are checked before the model is looked up."""
    check_metadata_request(raw)
    return peek(raw)


def service_handler(name: str, methods: Mapping[str, Callable[..., Any]]) -> grpc.GenericRpcHandler:
    """Register handlers without serializers: requests and responses stay bytes."""
    handlers = {method: grpc.unary_unary_rpc_method_handler(handler) for method, handler in methods.items()}
    return grpc.method_handlers_generic_handler(name, handlers)
