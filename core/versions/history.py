"""The state of a version that outlives the watcher: it travels in the routing table, where the next watcher finds it.

Times here are of the wall clock, in seconds since the epoch, because they are read in other processes; records count
on the watcher's steady clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.versions.lifecycle import State
from core.versions.record import Failure, VersionRecord

ENDED_OR_WAITING = frozenset({State.START, State.END})


@dataclass(frozen=True, slots=True)
class VersionHistory:
    """A version as the watcher saw it last.

    `since_s` is when its state began, `load_s` how long it took from its submission until it answered, `retry_at_s`
    when a failed load is tried again.
    """

    state: State
    aspired: bool = True
    since_s: float = 0.0
    load_s: float | None = None
    failed_attempts: int = 0
    retry_at_s: float | None = None
    failure: Failure | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment on both clocks: `now_s` never steps and has an arbitrary origin, `wall_s` is shown to people."""

    now_s: float
    wall_s: float = 0.0

    def wall_of(self, steady_s: float) -> float:
        """Return the wall clock's time of a moment on the steady clock."""
        return self.wall_s + (steady_s - self.now_s)

    def steady_of(self, wall_s: float) -> float:
        """Return the steady clock's time of a moment in the past; one in the future counts as now."""
        return self.now_s - max(0.0, self.wall_s - wall_s)


def history_of(record: VersionRecord, before: VersionHistory | None, moment: Moment) -> VersionHistory:
    """Return the history of a record; times that were published before are kept, so that tables stay equal."""
    same = before is not None and _is_same_stay(record, before)
    waits = record.state is State.START and record.failed_attempts > 0
    return VersionHistory(
        state=record.state,
        aspired=record.aspired,
        since_s=before.since_s if before is not None and same else moment.wall_of(record.since_s),
        load_s=record.load_s,
        failed_attempts=record.failed_attempts,
        retry_at_s=_retry_at_s(record, before if same else None, moment) if waits else None,
        failure=record.failure,
        fingerprint=record.fingerprint,
    )


def _is_same_stay(record: VersionRecord, before: VersionHistory) -> bool:
    return (record.state, record.failed_attempts) == (before.state, before.failed_attempts)


def _retry_at_s(record: VersionRecord, before: VersionHistory | None, moment: Moment) -> float:
    if before is not None and before.retry_at_s is not None:
        return before.retry_at_s
    return moment.wall_of(record.retry_at_s)


def recalled(
    record: VersionRecord, history: VersionHistory | None, moment: Moment, *, has_failed: bool, longest_retry_s: float
) -> VersionRecord:
    """Return the record of a version that a new watcher finds, completed by the history that its predecessor published.

    `record` follows from Serve alone, `has_failed` says that its application failed. A failure that the predecessor
    counted is not counted again; one that it did not see is left to be seen. What answered goes on answering: a Serve
    that has just come back calls every application one that is being deployed.
    """
    if history is None:
        return record
    if record.state is State.LOADING and history.state is State.AVAILABLE:
        record = replace(record, state=State.AVAILABLE)
    known = replace(record, load_s=history.load_s, fingerprint=history.fingerprint or record.fingerprint)
    if record.state is State.AVAILABLE:
        return _since(known, history, moment)
    known = replace(known, failed_attempts=history.failed_attempts)
    if record.state is State.LOADING or history.state not in ENDED_OR_WAITING:
        was_loading = has_failed and history.state is State.LOADING
        return _since(replace(known, state=State.LOADING) if was_loading else known, history, moment)
    due_s = _due_s(history, moment, longest_retry_s)
    return _since(replace(known, state=history.state, failure=history.failure, retry_at_s=due_s), history, moment)


def _since(record: VersionRecord, history: VersionHistory, moment: Moment) -> VersionRecord:
    if record.state is not history.state:
        return record
    return replace(record, since_s=moment.steady_of(history.since_s))


def _due_s(history: VersionHistory, moment: Moment, longest_retry_s: float) -> float:
    """Return when the next attempt is due; a wall clock that stepped back must not put it off."""
    if history.retry_at_s is None:
        return 0.0
    return moment.now_s + min(history.retry_at_s - moment.wall_s, longest_retry_s)
