"""Which applications may be deleted: those that no router can call any more."""

from __future__ import annotations

from collections.abc import Iterable

from core.routing.router_report import RouterReport


def deletable(apps: Iterable[str], reports: Iterable[RouterReport], generation: int) -> frozenset[str]:
    """Return those of `apps` that can be deleted: every router uses a table without them and has no call in flight.

    Calls to an application that is being deleted never end, hence this rule. `generation` is the first table
    that does not lead to any of the apps; no report at all means that no router runs.
    """
    seen = tuple(reports)
    if any(report.generation < generation for report in seen):
        return frozenset()
    return frozenset(app for app in apps if not any(report.in_flight.get(app, 0) for report in seen))
