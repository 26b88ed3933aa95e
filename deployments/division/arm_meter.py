"""Counts the requests that a division gives to a version, at one router; used on its event loop only."""

from __future__ import annotations

from typing import Final

from core.delivery.arm_counts import (
    LATENCY_EDGES_S,
    UNANSWERED,
    ArmCounts,
    CallOutcome,
    Tally,
    bucket_of,
    outcome_of,
)
from core.delivery.choice import KeysSeen
from core.delivery.split import ArmKey
from core.errors import Code
from core.routing.table import Arm
from core.telemetry.metric_names import SPLIT_REQUESTS
from core.telemetry.metrics import Counter, Metrics

COLD_REQUESTS: Final = 100
"""The latencies of so many first requests of a version, at each router, say nothing about its speed."""

_LAST_BUCKET: Final = len(LATENCY_EDGES_S)


class Warmth:
    """Whether a version still answers its first divided requests of this router, whatever their shares are."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = COLD_REQUESTS

    def is_cold(self) -> bool:
        """Count a request that has ended; return whether it is one of the first."""
        if not self._left:
            return False
        self._left -= 1
        return True


class _RunningTally:
    """A tally that is counted up."""

    __slots__ = ("client_errors", "latency", "requests", "server_errors")

    def __init__(self) -> None:
        self.requests = self.server_errors = self.client_errors = 0
        self.latency = [0] * (_LAST_BUCKET + 1)

    def add(self, outcome: CallOutcome, bucket: int | None = None) -> None:
        """Count a request, with its latency if a bucket is given."""
        self.requests += 1
        if bucket is not None:
            self.latency[bucket] += 1
        if outcome is CallOutcome.SERVER_ERROR:
            self.server_errors += 1
        elif outcome is CallOutcome.CLIENT_ERROR:
            self.client_errors += 1

    def so_far(self) -> Tally:
        """Return what was counted."""
        return Tally(self.requests, self.server_errors, self.client_errors, tuple(self.latency))


class ArmMeter:
    """The counts of one version under one division."""

    def __init__(self, key: ArmKey, arm: str, warmth: Warmth, metrics: Metrics) -> None:
        self._labels = (key.model, str(key.version), arm)
        self._warmth = warmth
        self._metrics = metrics
        self._cells: dict[CallOutcome, Counter] = {}
        self._shown = _RunningTally()
        self._judged = _RunningTally()

    def answered(self, code: Code, took_s: float, *, is_judged: bool) -> None:
        """Count an answer, or the error that stands for it."""
        outcome, is_cold = outcome_of(code), self._warmth.is_cold()
        bucket = _LAST_BUCKET if code in UNANSWERED else bucket_of(took_s)
        self._show(outcome, bucket)
        if is_judged and is_cold:
            self._judged.add(CallOutcome.OK if code is Code.DEADLINE_EXCEEDED else outcome)
        elif is_judged:
            self._judged.add(outcome, bucket)

    def gave_up(self, took_s: float, *, is_judged: bool) -> None:
        """Count a request whose caller did not wait longer: it took that long at least."""
        is_cold, bucket = self._warmth.is_cold(), bucket_of(took_s)
        self._show(CallOutcome.CANCELLED, bucket)
        if is_judged:
            self._judged.add(CallOutcome.CANCELLED, None if is_cold else bucket)

    def lost(self, *, is_judged: bool) -> None:
        """Count a try that lost its connection and is repeated: for its caller it has not ended yet."""
        self._cell(CallOutcome.LOST).add()
        if is_judged:
            self._judged.add(CallOutcome.SERVER_ERROR, _LAST_BUCKET)

    def _show(self, outcome: CallOutcome, bucket: int) -> None:
        self._cell(outcome).add()
        self._shown.add(outcome, bucket)

    def _cell(self, outcome: CallOutcome) -> Counter:
        cell = self._cells.get(outcome)
        if cell is None:
            cell = self._cells[outcome] = self._metrics.counter(SPLIT_REQUESTS, *self._labels, outcome.value)
        return cell

    def counts(self) -> ArmCounts:
        """Return what was counted so far."""
        return ArmCounts(self._shown.so_far(), self._judged.so_far())


class ShownArm:
    """Counts requests that nobody judges; implements `core.routing.table.Arm`."""

    __slots__ = ("_meter", "is_copied")

    def __init__(self, meter: ArmMeter, *, is_copied: bool = False) -> None:
        self._meter = meter
        self.is_copied = is_copied

    def answered(self, code: Code, took_s: float) -> None:
        """Count the answer."""
        self._meter.answered(code, took_s, is_judged=False)

    def gave_up(self, took_s: float) -> None:
        """Count a request whose caller has gone."""
        self._meter.gave_up(took_s, is_judged=False)

    def lost(self) -> Arm:
        """Count a try that is repeated."""
        self._meter.lost(is_judged=False)
        return self

    def take_back(self) -> None:
        """There is nothing to take back."""


class JudgedArm:
    """Counts requests that the analysis looks at; implements `core.routing.table.Arm`.

    `keys` has the sticky keys that were seen; `afterwards` counts what follows a lost try.
    """

    __slots__ = ("_afterwards", "_keys", "_meter", "is_copied")

    def __init__(self, meter: ArmMeter, keys: KeysSeen, afterwards: ShownArm) -> None:
        self._meter = meter
        self._keys = keys
        self._afterwards = afterwards
        self.is_copied = afterwards.is_copied

    def answered(self, code: Code, took_s: float) -> None:
        """Count the answer."""
        self._meter.answered(code, took_s, is_judged=True)

    def gave_up(self, took_s: float) -> None:
        """Count a request whose caller has gone."""
        self._meter.gave_up(took_s, is_judged=True)

    def lost(self) -> Arm:
        """Count a try that is repeated as a failure of this version; the repetition is not judged."""
        self._meter.lost(is_judged=True)
        return self._afterwards

    def take_back(self) -> None:
        """Let the same key be judged again."""
        self._keys.take_back()
