"""Logs each step of a rollout: the version, its states before and after, the duration, and the error; and of labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.log_lines import audited
from core.versions.history import VersionHistory
from core.versions.record import VersionRecord
from core.versions.servable import ServableId

log = logging.getLogger(__name__)

_NONE: Mapping[ServableId, VersionRecord] = MappingProxyType({})


class RolloutLog:
    """Remembers the state that was logged last of every version."""

    def __init__(self) -> None:
        self._written = _NONE
        self._adopted: dict[ServableId, VersionHistory] = {}
        self._named: Mapping[tuple[str, str], int | None] = {}

    def adopt(self, table: RoutingTable) -> None:
        """Begin with what a former watcher has logged: the states and labels in its table."""
        self._adopted = dict(table.histories)
        self._named = _named(table)

    def follow(self, records: Mapping[ServableId, VersionRecord]) -> None:
        """Log the changes since the last call."""
        for servable, record in records.items():
            before = self._written.get(servable)
            adopted = self._adopted.pop(servable, None)
            if before is not None:
                if before.state is not record.state or before.failure != record.failure:
                    _write(record, before.state.name, record.since_s - before.since_s)
            elif adopted is None:
                _write(record)
            elif adopted.state is not record.state or record.failure not in (None, adopted.failure):
                _write(record, adopted.state.name)
        self._written = records

    def follow_labels(self, table: RoutingTable) -> None:
        """Log the labels that lead to another version in a table that every router uses; None: to none that answers."""
        named = _named(table)
        for name, label in sorted(named.keys() | self._named.keys()):
            was, becomes = self._named.get((name, label)), named.get((name, label))
            if was != becomes:
                log.info("label_moved model=%s label=%s from=%s to=%s", name, label, was, becomes, extra=audited())
        self._named = named


def _named(table: RoutingTable) -> Mapping[tuple[str, str], int | None]:
    return {(name, label): _answering(one, label) for name, one in table.models.items() for label in one.labels}


def _answering(model: ModelRoutes, label: str) -> int | None:
    version = model.version_of(label)
    return version if version in model.routes else None


def _write(record: VersionRecord, was: str = "", took_s: float = 0.0) -> None:
    log.info(
        "version_state model=%s version=%d from=%s to=%s took_s=%.3f error=%s",
        record.servable.name,
        record.servable.version,
        was,
        record.state.name,
        took_s,
        record.failure.message if record.failure is not None else "",
        extra=audited(),
    )
