"""Holds the routing table, finds the version that answers a request, carries the call there, and counts both.

Everything runs on one event loop, that of the router's own ports.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from core.errors import Code, DeadlineExceeded, LimitReached, ServerFull, ServingError
from core.routing.router_report import RouterReport
from core.routing.table import Arm, Route, RoutingTable
from core.routing.transport import TIMED_OUT, Answer, Call, ConnectionLost, OpenCall, Transport, Waiting
from core.telemetry.metric_names import (
    DROPPED_REQUESTS,
    FULL,
    IN_FLIGHT,
    LABEL_REQUESTS,
    REFUSED_REQUESTS,
    ROUTING_GENERATION,
)
from core.telemetry.metrics import Metrics
from core.telemetry.request_meter import RequestMeter
from core.versions.servable import ServableId
from deployments.division.divisions import Copies, Divisions
from deployments.division.observations import OutputObservations
from deployments.division.request_headers import Fields
from deployments.routing.awaited_call import answer_to
from deployments.routing.model_limits import ModelLimits
from deployments.telemetry.process_metrics import METRICS

MOST_CALLS_IN_FLIGHT = 10_000
"""Calls that may wait for one version; more are refused, so that memory stays bounded under overload."""


class Coded(Protocol):
    """An answer of either protocol, as far as it is counted."""

    @property
    def code(self) -> Code: ...


A = TypeVar("A", bound=Coded)


class RequestRouter:
    """Holds the newest routing table and carries calls to the versions it names.

    `copies` is told of the answers to divided requests whose division has a mirror; None where nobody copies.
    `observations` asks replicas for their outputs; None where nobody does.
    """

    def __init__(self, name: str, transport: Transport, metrics: Metrics = METRICS) -> None:
        self._name = name
        self._transport = transport
        self._metrics = metrics
        self._in_flight: Counter[str] = Counter()
        self._servables: dict[str, ServableId] = {}
        self._reports = 0
        self.limits = ModelLimits(metrics)
        self.divisions = Divisions(metrics)
        self.copies: Copies | None = None
        self.observations: OutputObservations | None = None
        self.meter = RequestMeter(metrics, lambda model: model in self.table.models)
        self.table = RoutingTable(generation=0)

    def apply(self, table: RoutingTable) -> RouterReport:
        """Take the table if it is newer; return the generation in use and the calls in flight."""
        if table.generation > self.table.generation:
            self.table = table
            self._tidy()
            self.limits.follow(table, self._calls_of)
            self.divisions.follow(table)
            if self.copies is not None:
                self.copies.follow(table)
            if self.observations is not None:
                self.observations.follow(table)
        return self.report()

    def _calls_of(self, name: str) -> int:
        """Return how many calls to versions of a model are in flight."""
        known = self._servables
        return sum(count for app, count in self._in_flight.items() if app in known and known[app].name == name)

    def _tidy(self) -> None:
        """Forget versions that are gone, once their last call was answered."""
        apps = self.table.apps
        for app in [app for app, count in self._in_flight.items() if not count and app not in apps]:
            del self._in_flight[app]
        self._servables = {app: one for app, one in self._servables.items() if app in self._in_flight}

    def resolve(self, name: str, version: int | None, label: str | None, fields: Fields | None = None) -> Route:
        """Return the route that a request asks for; raises InvalidArgument, LabelNotFound, ServableNotFound.

        `fields` are the headers of a request for inference: it may be divided, by chance or by one of them. All others
        (None) get the stable version, as do tables.
        """
        route = self.table.resolve(name, version, label)
        if label is not None and version is None:
            self._metrics.count(LABEL_REQUESTS, name, label)
        if fields is None or not self.divisions.choosers or version is not None:
            return route
        chooser = self.divisions.choosers.get((name, label))
        return route if chooser is None else chooser.choose(fields)

    def note_metrics(self) -> None:
        """Set the gauges of this router."""
        known = self._servables
        calls = {known[app]: count for app, count in tuple(self._in_flight.items()) if app in known}
        self._metrics.replace(IN_FLIGHT, {(one.name, str(one.version)): count for one, count in calls.items()})
        self._metrics.set(ROUTING_GENERATION, self._name, to=self.table.generation)

    def report(self) -> RouterReport:
        """Return the generation in use and the calls in flight by application."""
        self._reports += 1
        return RouterReport(
            self._name,
            self.table.generation,
            {app: count for app, count in self._in_flight.items() if count},
            self.table.watcher,
            self._transport.failing(),
            self.divisions.counts(),
            {} if self.copies is None else self.copies.counts(),
            {} if self.observations is None else self.observations.counts(),
            self._reports,
        )

    async def counted(self, name: str, entry_point: str, api: str, work: Awaitable[A]) -> A:
        """Wait for the answer to a request, and count it for the model that it named; raises what `work` raises."""
        began_s = time.perf_counter()
        try:
            answer = await work
        except ServingError as error:
            self.meter.answered(name, error.code)
            raise
        except asyncio.CancelledError:
            self.meter.answered(name, Code.CANCELLED)
            raise
        if answer.code is Code.OK:
            self.meter.succeeded(name, entry_point, api, time.perf_counter() - began_s)
        else:
            self.meter.answered(name, answer.code)
        return answer

    async def forward(self, route: Route, call: Call) -> Answer:
        """Carry a call to a version of the present table, and wait for its answer.

        A route must be used in the same turn of the loop in which it was resolved: from then on the call counts as in
        flight, and its version is not deleted. Raises ServingError; a cancelled caller withdraws the call.
        """
        if route.arm is not None:
            return await self._counted_by(route.arm, route, call)
        self.require_room(route)
        self._require_time(route, call)
        try:
            return await self._sent(route, call)
        except ConnectionLost:
            return await self.repeat(route, call)
        finally:
            self.end(route)

    def _sent(self, route: Route, call: Call) -> Awaitable[Answer]:
        """Send a call, which counts as in flight from now on; return its answer."""
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        sent = self.begin(route, call, waiting)
        if sent is not None:
            return answer_to(sent, waiting)
        self._begun(route)
        return self._transport.call(route, call)

    async def _counted_by(self, arm: Arm, route: Route, call: Call) -> Answer:
        """Carry a call as `forward` does, and count how it ends; what a limit refuses is not the version's."""
        began_s = time.perf_counter()
        try:
            self.require_room(route)
        except ServerFull as error:
            arm.answered(error.code, 0.0)
            raise
        self._require_time(route, call)
        try:
            try:
                answer = await self._sent(route, call)
            except ConnectionLost:
                arm = arm.lost()
                answer = await self.repeat(route, call)
        except ServingError as error:
            arm.answered(error.code, time.perf_counter() - began_s)
            raise
        except asyncio.CancelledError:
            arm.gave_up(time.perf_counter() - began_s)
            raise
        finally:
            self.end(route)
        took_s = time.perf_counter() - began_s
        arm.answered(answer.code, took_s)
        if arm.is_copied:
            self.copy_soon(route, call, answer, took_s)
        return answer

    def copy_soon(self, route: Route, call: Call, answer: Answer, took_s: float) -> None:
        """Tell who copies requests of an answer; they are copied when it is on its way to the caller."""
        if self.copies is not None:
            self.copies.answered(route, call, answer, took_s)

    def require_room(self, route: Route) -> None:
        """Raise LimitReached or ServerFull where a request would be refused now; takes no room.

        Whoever has a large body to read asks before, so that it need not.
        """
        refused = self.limits.refusal(route.servable.name) if self.limits.by_model else None
        if refused is not None:
            raise LimitReached(refused.text, refused.retry_after_s)
        if self._in_flight[route.app] >= MOST_CALLS_IN_FLIGHT:
            self._metrics.count(REFUSED_REQUESTS, route.servable.name, FULL)
            raise ServerFull(f"{MOST_CALLS_IN_FLIGHT} requests are waiting for {route.servable}; try again later.")

    def _require_time(self, route: Route, call: Call) -> None:
        if call.timeout_s is not None and call.timeout_s <= 0:
            self._metrics.count(DROPPED_REQUESTS, route.servable.name, "expired")
            raise DeadlineExceeded(TIMED_OUT)

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call without waiting; None where only `forward` can. `end` must follow each call that was begun."""
        if self._in_flight[route.app] >= MOST_CALLS_IN_FLIGHT:
            return None
        sent = self._transport.begin(route, call, waiting)
        if sent is not None:
            self._servables.setdefault(route.app, route.servable)
            self._in_flight[route.app] += 1
            if self.limits.by_model:
                self.limits.began(route.servable.name)
        return sent

    def _begun(self, route: Route) -> None:
        """Count a call as `begin` does, that it could not send."""
        self._servables.setdefault(route.app, route.servable)
        self._in_flight[route.app] += 1
        if self.limits.by_model:
            self.limits.began(route.servable.name)

    async def repeat(self, route: Route, call: Call) -> Answer:
        """Carry a call once more whose connection was lost; it is still counted as in flight. Raises ServingError."""
        return await self._transport.repeat(route, call)

    def end(self, route: Route) -> None:
        """Count a begun call as no longer in flight."""
        self._in_flight[route.app] -= 1
        if self.limits.by_model:
            self.limits.ended(route.servable.name)
