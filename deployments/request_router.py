"""The router's decision and count: hold a table, resolve, forward. Everything runs on the front door's event loop."""

from __future__ import annotations

from collections import Counter

from core.errors import Unavailable
from core.reconcile import RouterReport
from core.routing import Route, RoutingTable
from core.transport import Answer, Call, Transport

MOST_CALLS_IN_FLIGHT = 10_000
"""Calls that may wait for one version; more are refused, so that memory stays bounded under overload."""


class RequestRouter:
    """Holds the newest routing table and carries calls to the versions it names."""

    def __init__(self, name: str, transport: Transport) -> None:
        self._name = name
        self._transport = transport
        self._in_flight: Counter[str] = Counter()
        self.table = RoutingTable(generation=0)

    def apply(self, table: RoutingTable) -> RouterReport:
        """Take the table if it is newer; answer with the generation in use and the calls in flight."""
        if table.generation > self.table.generation:
            self.table = table
        return self.report()

    def report(self) -> RouterReport:
        """Tell the generation in use and the calls in flight by application."""
        return RouterReport(
            self._name, self.table.generation, {app: count for app, count in self._in_flight.items() if count}
        )

    @property
    def calls_in_flight(self) -> int:
        return sum(self._in_flight.values())

    async def forward(self, route: Route, call: Call) -> Answer:
        """Carry a call to a version of the present table.

        A route must be used in the same turn of the loop in which it was resolved: from then on the call counts as in
        flight, and its version is not deleted. Raises ServingError.
        """
        if self._in_flight[route.app] >= MOST_CALLS_IN_FLIGHT:
            raise Unavailable(f"{MOST_CALLS_IN_FLIGHT} requests are waiting for {route.servable}; try again later.")
        self._in_flight[route.app] += 1
        try:
            return await self._transport.call(route, call)
        finally:
            self._in_flight[route.app] -= 1
