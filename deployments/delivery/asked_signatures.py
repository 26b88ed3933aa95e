"""Asks running versions for their signatures in the background, and says how those of two versions differ."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from core.comparison.signature_difference import signature_problems
from core.errors import Code, RuntimeFailure
from core.grpc.metadata import metadata_request, read_metadata_answer
from core.inference.signature import Signature
from core.routing.table import Route
from core.routing.transport import Answer, Call, Method
from deployments.routing.handle_transport import HandleTransport
from deployments.system.event_loop import LoopThread
from deployments.telemetry.serve_failures import brief

log = logging.getLogger(__name__)

ANSWERED_WITHIN_S: Final = 5.0
ASKED_AGAIN_AFTER_S: Final = 2.0
"""How long after a failure a version is asked again."""

CallVersion: TypeAlias = Callable[[Route, Call], Coroutine[Any, Any, Answer]]
_Signatures: TypeAlias = Mapping[str, Signature]


class AskedSignatures:
    """The signatures of running versions, asked once each; for the thread of the ticks, which it never lets wait.

    `call` carries a call to a version: that of `HandleTransport`.
    """

    def __init__(self, call: CallVersion | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._handles = HandleTransport()
        self._call = self._handles.call if call is None else call
        self._clock = clock
        self._loop = LoopThread("signatures")
        self._asked: dict[Route, Future[_Signatures]] = {}
        self._failed: dict[Route, float] = {}
        self._compared: dict[tuple[Route, Route], tuple[str, ...]] = {}

    def problems(self, old: Route, new: Route) -> tuple[str, ...] | None:
        """Return what callers of the old version would notice of the new one; None while one has not answered yet."""
        pair = old, new
        if pair not in self._compared:
            before, after = self._known(old), self._known(new)
            if before is None or after is None:
                return None
            self._compared[pair] = signature_problems(before, after)
        return self._compared[pair]

    def outputs(self, route: Route) -> frozenset[str]:
        """Return the names of a version's outputs; none while it has not answered yet."""
        return frozenset(name for one in (self._known(route) or {}).values() for name in one.outputs)

    def keep(self, routes: Collection[Route]) -> None:
        """Forget all versions but these: one that comes back under the same number may be another."""
        for route in self._asked.keys() - set(routes):
            self._asked.pop(route).cancel()
            self._failed.pop(route, None)
            self._loop.run(self._handles.forget(route.host or route.app))
        self._compared = {pair: one for pair, one in self._compared.items() if set(pair) <= set(routes)}

    def close(self) -> None:
        """End the background work."""
        self._loop.stop()

    def _known(self, route: Route) -> _Signatures | None:
        asked = self._asked.get(route)
        if asked is None:
            self._asked[route] = self._loop.run(self._ask(route))
            return None
        if not asked.done():
            return None
        error = asked.exception()
        if error is None:
            return asked.result()
        now_s = self._clock()
        if route not in self._failed:
            log.info("signatures_not_told version=%s error=%r", route.servable, brief(error))
        if now_s >= self._failed.setdefault(route, now_s) + ASKED_AGAIN_AFTER_S:
            self._failed[route] = now_s
            self._asked[route] = self._loop.run(self._ask(route))
        return None

    async def _ask(self, route: Route) -> _Signatures:
        body = metadata_request(route.servable.name, route.servable.version)
        answer = await self._call(route, Call(Method.GET_MODEL_METADATA, body, ANSWERED_WITHIN_S))
        if answer.code is not Code.OK:
            raise RuntimeFailure(answer.code, answer.text)
        return read_metadata_answer(bytes(answer.body))
