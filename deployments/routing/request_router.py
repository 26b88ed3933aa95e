"""The router's decision and count: hold a table, resolve, forward. Everything runs on the front door's event loop."""

from __future__ import annotations

import asyncio
from collections import Counter

from core.errors import DeadlineExceeded, Unavailable
from core.routing.router_report import RouterReport
from core.routing.table import Route, RoutingTable
from core.routing.transport import TIMED_OUT, Answer, Call, ConnectionLost, OpenCall, Transport, Waiting
from core.telemetry.metric_names import DROPPED_REQUESTS, IN_FLIGHT, LABEL_REQUESTS, ROUTING_GENERATION
from core.telemetry.metrics import Metrics
from core.telemetry.request_meter import RequestMeter
from core.versions.servable import ServableId
from deployments.telemetry.process_metrics import METRICS

MOST_CALLS_IN_FLIGHT = 10_000
"""Calls that may wait for one version; more are refused, so that memory stays bounded under overload."""


class RequestRouter:
    """Holds the newest routing table and carries calls to the versions it names."""

    def __init__(self, name: str, transport: Transport, metrics: Metrics = METRICS) -> None:
        self._name = name
        self._transport = transport
        self._metrics = metrics
        self._in_flight: Counter[str] = Counter()
        self._servables: dict[str, ServableId] = {}
        self.meter = RequestMeter(metrics, lambda model: model in self.table.models)
        self.table = RoutingTable(generation=0)

    def apply(self, table: RoutingTable) -> RouterReport:
        """Take the table if it is newer; answer with the generation in use and the calls in flight."""
        if table.generation > self.table.generation:
            self.table = table
            self._tidy()
        return self.report()

    def _tidy(self) -> None:
        """Forget versions that are gone, once their last call was answered."""
        apps = self.table.apps
        for app in [app for app, count in self._in_flight.items() if not count and app not in apps]:
            del self._in_flight[app]
        self._servables = {app: one for app, one in self._servables.items() if app in self._in_flight}

    def resolve(self, name: str, version: int | None, label: str | None) -> Route:
        """Find the version that a request asks for; raises InvalidArgument, LabelNotFound, ServableNotFound."""
        route = self.table.resolve(name, version, label)
        if label is not None and version is None:
            self._metrics.count(LABEL_REQUESTS, name, label)
        return route

    def note_numbers(self) -> None:
        """Set the gauges of this router."""
        known = self._servables
        calls = {known[app]: count for app, count in tuple(self._in_flight.items()) if app in known}
        self._metrics.replace(IN_FLIGHT, {(one.name, str(one.version)): count for one, count in calls.items()})
        self._metrics.set(ROUTING_GENERATION, self._name, to=self.table.generation)

    def report(self) -> RouterReport:
        """Tell the generation in use and the calls in flight by application."""
        in_flight = {app: count for app, count in self._in_flight.items() if count}
        return RouterReport(self._name, self.table.generation, in_flight, self.table.watcher)

    async def forward(self, route: Route, call: Call) -> Answer:
        """Carry a call to a version of the present table.

        A route must be used in the same turn of the loop in which it was resolved: from then on the call counts as in
        flight, and its version is not deleted. Raises ServingError.
        """
        if self._in_flight[route.app] >= MOST_CALLS_IN_FLIGHT:
            raise Unavailable(f"{MOST_CALLS_IN_FLIGHT} requests are waiting for {route.servable}; try again later.")
        if call.timeout_s is not None and call.timeout_s <= 0:
            self._metrics.count(DROPPED_REQUESTS, route.servable.name, "expired")
            raise DeadlineExceeded(TIMED_OUT)
        if route.app not in self._servables:
            self._servables[route.app] = route.servable
        self._in_flight[route.app] += 1
        try:
            return await self._transport.call(route, call)
        finally:
            self._in_flight[route.app] -= 1

    async def carry(self, route: Route, call: Call) -> Answer:
        """Carry a call as `forward` does, but shorter; the caller cancels it when its time is up, as gRPC does.

        Raises ServingError.
        """
        if call.timeout_s is not None and call.timeout_s <= 0:
            return await self.forward(route, call)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        begun = self.begin(route, call, waiting)
        if begun is None:
            return await self.forward(route, call)
        try:
            return await waiting
        except ConnectionLost:
            return await begun.repeat()
        except asyncio.CancelledError:
            begun.withdraw()
            raise
        finally:
            self.end(route)

    def begin(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a call without waiting; None where only `forward` can. What was begun must be told to `end`."""
        if self._in_flight[route.app] >= MOST_CALLS_IN_FLIGHT:
            return None
        begun = self._transport.begin(route, call, waiting)
        if begun is not None:
            self._servables.setdefault(route.app, route.servable)
            self._in_flight[route.app] += 1
        return begun

    def end(self, route: Route) -> None:
        """Take into account that a begun call is over."""
        self._in_flight[route.app] -= 1
