"""Reports of routers to the watcher, and which applications may be deleted after them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RouterReport:
    """The state of one router: its name, the table in use (generation and watcher), calls in flight by application."""

    router: str
    generation: int
    in_flight: Mapping[str, int] = field(default_factory=dict)
    watcher: str = ""

    def keeps_its_table(self, generation: int, watcher: str) -> bool:
        """Whether this router would keep its table if another watcher published this generation."""
        return self.generation > generation or (self.generation == generation and self.watcher != watcher)


def deletable(apps: Iterable[str], reports: Iterable[RouterReport], generation: int) -> frozenset[str]:
    """Return those of `apps` that can be deleted: every router uses a table without them and has no call in flight.

    Calls to an application that is being deleted never end, hence this rule. `generation` is the first table
    that does not lead to any of the apps; no report at all means that no router runs.
    """
    seen = tuple(reports)
    if any(report.generation < generation for report in seen):
        return frozenset()
    return frozenset(app for app in apps if not any(report.in_flight.get(app, 0) for report in seen))
