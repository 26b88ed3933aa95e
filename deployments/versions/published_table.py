"""The table in force: its generation, its broadcasts, and which routers are known to use it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from core.errors import ServingError
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.versions.record import Failure
from deployments.system.clock import Clock
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog

BROADCAST_AGAIN_S = 2.0
"""Pause after a broadcast that not every router answered; pulls heal it meanwhile."""

ROUTER_FORGOTTEN_AFTER_S = 15.0
"""A router that has neither pulled nor answered a broadcast for so long is gone."""


class Routers(Protocol):
    """All routers at once."""

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        """Send a table to every router and return their reports; raises Unavailable when one does not answer."""


@dataclass(frozen=True, slots=True)
class _Pulled:
    """The report of a router when it last pulled the table."""

    report: RouterReport
    at_s: float


class PublishedTable:
    """`newest` is the table that routers are sent, `confirmed` the newest that every router used at one moment.

    `note` is told every report of a router, on whichever thread it comes.
    """

    def __init__(self, routers: Routers, clock: Clock, note: Callable[[RouterReport], None] = lambda _: None) -> None:
        self._note = note
        self._routers = routers
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._pulls: dict[str, _Pulled] = {}
        self._answers: tuple[RouterReport, ...] | None = ()  # to the broadcast of the present table; None: one lacks
        self._repeat_s = 0.0
        self._all_known_s = 0.0
        self._failures = RepeatedFailureLog("table_not_confirmed", "table_confirmed_again")
        self.newest = RoutingTable(generation=0)
        self.confirmed = self.newest

    def adopt(self, tables: Sequence[RoutingTable], all_known_s: float) -> None:
        """Begin with the newest table that a router holds, so that generations rise over restarts of the watcher.

        From `all_known_s` on every router has had the time to pull, so that none is unknown.
        """
        self.newest = max((self.newest, *tables), key=lambda one: one.generation)
        if self.newest.generation:
            self._all_known_s = all_known_s
            self._answers = () if all(one == self.newest for one in tables) else None

    def pulled(self, report: RouterReport) -> RoutingTable:
        """Return the table to a router that asks for it, and remember what it uses."""
        self._note(report)
        self._pulls[report.router] = _Pulled(report, self._clock.steady_s())
        return self.newest

    def failing(self) -> Mapping[str, Failure]:
        """Return the applications in which every run fails, as any router that pulls reports it."""
        pulls = (one for one in tuple(self._pulls.values()) if self._is_present(one))
        return {app: failure for one in pulls for app, failure in one.report.failing.items()}

    def routers(self) -> int:
        """Return how many routers there are: those that pulled lately; before they all could, as many as before."""
        if self._clock.steady_s() < self._all_known_s:
            return self.newest.routers
        return max(1, sum(map(self._is_present, tuple(self._pulls.values()))))

    def _is_present(self, pulled: _Pulled) -> bool:
        return self._clock.steady_s() - pulled.at_s <= ROUTER_FORGOTTEN_AFTER_S

    def is_confirmed(self) -> bool:
        """Whether every router is known to use the present table.

        A new watcher knows every router only after each could pull once; the very first one is there before any router.
        A router may have been taken over by another watcher after it answered, and tells that when it pulls.
        """
        if self._answers is None or self._clock.steady_s() < self._all_known_s or self._ahead_by_pulls():
            return False
        ours = self.newest
        return all(one.uses(ours.generation, ours.watcher) for one in self._with_pulls(self._answers))

    def broadcast_again(self) -> None:
        """Send the table again some time after a broadcast that not every router answered."""
        if self._answers is None and self.newest.generation and self._clock.steady_s() >= self._repeat_s:
            self.confirm()

    def put(self, table: RoutingTable) -> bool:
        """Publish a new generation when the table has changed, or when a router is ahead; returns whether it was so."""
        ahead = self._ahead_by_pulls()
        if table == self.newest and not ahead:
            return False
        self._number(table, ahead)
        self.confirm()
        return True

    def confirm(self) -> list[RouterReport] | None:
        """Broadcast the table; None when some router did not answer. A router that is ahead is overtaken."""
        try:
            answers = self._routers.publish(self.newest)
            for report in answers:
                self._note(report)
            reports = self._with_pulls(answers)
        except ServingError as error:
            self._answers = None
            self._repeat_s = self._clock.steady_s() + BROADCAST_AGAIN_S
            self._failures.failed(self._clock.steady_s(), error)
            return None
        self._failures.went_well(self._clock.steady_s())
        ahead = self._ahead(reports)
        if ahead:
            self._number(self.newest, ahead)
            return self.confirm()
        self._answers = tuple(answers)
        return reports

    def note_confirmed(self) -> None:
        """Remember the present table as one that every router used."""
        self.confirmed = self.newest

    def _ahead_by_pulls(self) -> int:
        return self._ahead(one.report for one in tuple(self._pulls.values()))

    def _ahead(self, reports: Iterable[RouterReport]) -> int:
        """Return the highest generation of another watcher's table that a router would keep; 0 when there is none."""
        ours = self.newest
        kept = (one.generation for one in reports if one.keeps_its_table(ours.generation, ours.watcher))
        return max(kept, default=0)

    def _number(self, table: RoutingTable, ahead: int) -> None:
        self._answers = None
        self.newest = replace(table, generation=max(table.generation, ahead) + 1, watcher=self._name)

    def _with_pulls(self, reports: Iterable[RouterReport]) -> list[RouterReport]:
        """Add routers that pulled lately but do not take broadcasts yet, because they are still starting."""
        answered = {report.router: report for report in reports}
        for router, pulled in tuple(self._pulls.items()):
            if not self._is_present(pulled):
                del self._pulls[router]
            else:
                answered.setdefault(router, pulled.report)
        return list(answered.values())
