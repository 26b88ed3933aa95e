"""Logs each step of a rollout: the version, its states before and after, the duration, and the error; and of labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from core.routing.table import ModelRoutes, RoutingTable
from core.telemetry.log_lines import audited
from core.versions.record import VersionRecord
from core.versions.servable import ServableId

log = logging.getLogger(__name__)

_NONE: Mapping[ServableId, VersionRecord] = MappingProxyType({})


class RolloutLog:
    """Remembers the state that was logged last of every version."""

    def __init__(self) -> None:
        self._written = _NONE
        self._named: Mapping[tuple[str, str], int | None] = {}

    def follow(self, records: Mapping[ServableId, VersionRecord]) -> None:
        """Log the changes since the last call."""
        for servable, record in records.items():
            before = self._written.get(servable)
            if before is None or before.state is not record.state or before.failure != record.failure:
                _write(before, record)
        self._written = records

    def follow_labels(self, table: RoutingTable) -> None:
        """Log the labels that lead to another version in a table that every router uses; None: to none that answers."""
        named = {(name, label): _answering(one, label) for name, one in table.models.items() for label in one.labels}
        for name, label in sorted(named.keys() | self._named.keys()):
            was, becomes = self._named.get((name, label)), named.get((name, label))
            if was != becomes:
                log.info("label_moved model=%s label=%s from=%s to=%s", name, label, was, becomes, extra=audited())
        self._named = named


def _answering(model: ModelRoutes, label: str) -> int | None:
    version = model.version_of(label)
    return version if version in model.routes else None


def _write(before: VersionRecord | None, record: VersionRecord) -> None:
    log.info(
        "version_state model=%s version=%d from=%s to=%s took_s=%.3f error=%s",
        record.servable.name,
        record.servable.version,
        before.state.name if before is not None else "",
        record.state.name,
        record.since_s - before.since_s if before is not None else 0.0,
        record.failure.message if record.failure is not None else "",
        extra=audited(),
    )
