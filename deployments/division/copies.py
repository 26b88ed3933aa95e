"""Copies of answered requests to another version, which compares its answer with the one that the caller got.

A copy is never in the way: it is sent after the answer, over connections of its own, while there is a place for it, and
is dropped otherwise; it is not repeated, and counts as no request. Everything runs on the event loop of the router.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from core.comparison.copy_message import RequestCopy, packed_copy
from core.comparison.pair_message import unpacked_report
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.pair_report import DROPPED_PAIR, PairReport, PairResult
from core.delivery.split import WHOLE, ArmKey, MirrorOrder
from core.errors import Code, ServingError
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, OpenCall, Waiting
from core.telemetry.metric_names import MIRROR_FLIPS, MIRROR_RELATIVE_L2, MIRROR_REQUESTS
from core.telemetry.metrics import Counter, Metrics
from deployments.division.copy_pace import CopyPace
from deployments.telemetry.spare_time import SpareTime

log = logging.getLogger(__name__)

COPY_TIMEOUT_S: Final = 5.0
"""A copy that is not compared after so long is dropped: the replica has more important things to do."""


def _in_a_later_turn(work: Callable[..., object], *arguments: object) -> None:
    """Do what takes time when the answer is on its way."""
    asyncio.get_running_loop().call_soon(work, *arguments)


class CopyTransport(Protocol):
    """Carries copies to the replicas of a version."""

    def begin_copy(self, route: Route, call: Call, waiting: Waiting) -> OpenCall | None:
        """Send a copy at once; None where that is not possible now."""
        ...


class MirrorCopies:
    """Sends the copies that the mirrors of the table want; implements `deployments.division.divisions.Copies`."""

    def __init__(
        self,
        transport: CopyTransport,
        metrics: Metrics,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        spare: SpareTime | None = None,
        *,
        later: Callable[..., object] | None = None,
    ) -> None:
        self._transport = transport
        self._metrics = metrics
        self._draw = draw
        self._clock = clock
        self._spare = spare or SpareTime()
        self._later = later or _in_a_later_turn
        self._mirrors: dict[str, _Mirror] = {}

    def follow(self, table: RoutingTable) -> None:
        """Take over the mirrors of a table; copies to others are withdrawn, and their counts forgotten."""
        before, self._mirrors = self._mirrors, {}
        for name, model in table.models.items():
            mirror = self._mirror_of(name, model, before.get(name))
            if mirror is not None:
                self._mirrors[name] = mirror
        for name, mirror in before.items():
            if self._mirrors.get(name) is not mirror:
                mirror.close()
        if self._mirrors:
            self._spare.start()
        else:
            self._spare.stop()

    def _mirror_of(self, name: str, model: ModelRoutes, known: _Mirror | None) -> _Mirror | None:
        division = model.division
        if division is None or division.mirror is None:
            return None
        order, route = division.mirror, model.routes.get(division.mirror.version)
        key = ArmKey(name, division.epoch, order.version)
        if known is None or known.key != key or known.order != order:
            known = _Mirror(key, order, self._transport, self._metrics, self._clock)
        known.stable, known.route = division.stable, route
        return known

    def answered(self, route: Route, call: Call, answer: Answer, took_s: float) -> None:
        """Copy the request if it was answered by the stable version, and is drawn."""
        del took_s
        mirror = self._mirrors.get(route.servable.name)
        if mirror is None or answer.code is not Code.OK or route.servable.version != mirror.stable:
            return
        if self._draw() * WHOLE < mirror.order.share:
            self._later(self._copy, mirror, call, answer)

    def _copy(self, mirror: _Mirror, call: Call, answer: Answer) -> None:
        if self._mirrors.get(mirror.key.model) is not mirror:
            return
        try:
            mirror.copy(call, answer, is_pressed=self._spare.is_short)
        except Exception:
            log.exception("request_not_copied model=%s", mirror.key.model)

    def counts(self) -> Mapping[ArmKey, MirrorCounts]:
        """Return what was counted since this router began, of the mirrors of its table."""
        return {mirror.key: mirror.counts for mirror in self._mirrors.values()}

    def close(self) -> None:
        """Withdraw all copies: the router is about to end."""
        self.follow(RoutingTable(generation=0))


class _Mirror:
    """The copies of one model's requests to one version."""

    def __init__(
        self,
        key: ArmKey,
        order: MirrorOrder,
        transport: CopyTransport,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self.key = key
        self.order = order
        self.stable = 0
        self.route: Route | None = None
        self._compared = MirrorCounts()
        self._quick = dict.fromkeys((PairResult.IDENTICAL, PairResult.DROPPED), 0)
        self._cells: dict[PairResult, Counter] = {}
        self._transport = transport
        self._metrics = metrics
        self._clock = clock
        self._pace = CopyPace(order.max_in_flight)
        self._open: set[_OpenCopy] = set()

    def copy(self, call: Call, answer: Answer, *, is_pressed: bool) -> None:
        """Send a copy, or drop it."""
        size = len(call.body) + len(answer.body)
        if self.route is None or not self._pace.has_room(size, self._clock(), is_pressed=is_pressed):
            self.count(DROPPED_PAIR)
            return
        request = RequestCopy(
            Call(call.method, call.body, tensor_at=call.tensor_at), answer.body, self.order.tolerances
        )
        packed = packed_copy(request, COPY_TIMEOUT_S)
        copy = _OpenCopy(self, size, self._clock())
        sent = None if packed is None else self._transport.begin_copy(self.route, packed, copy)
        if sent is None:
            self.count(DROPPED_PAIR)
            return
        copy.sent = sent
        self._open.add(copy)
        self._pace.began(size)

    def ended(self, copy: _OpenCopy, report: PairReport) -> None:
        """Count a copy that was compared or lost."""
        now_s = self._clock()
        self._open.discard(copy)
        self._pace.ended(copy.size, now_s, now_s - copy.began_s)
        self.count(report)

    @property
    def counts(self) -> MirrorCounts:
        """What was counted so far."""
        identical, dropped = self._quick.values()
        return replace(self._compared, identical=identical, dropped=dropped)

    def count(self, report: PairReport) -> None:
        """Count what came of a copy; the usual results, of which there may be thousands a second, at little cost."""
        (self._cells.get(report.result) or self._new_cell(report.result)).add()
        if report.result in self._quick:
            self._quick[report.result] += 1
        else:
            self._count_difference(report)

    def _new_cell(self, result: PairResult) -> Counter:
        labels = (self.key.model, str(self.key.version), result.name.lower())
        return self._cells.setdefault(result, self._metrics.counter(MIRROR_REQUESTS, *labels))

    def _count_difference(self, report: PairReport) -> None:
        self._compared = self._compared.plus(report)
        model, version = self.key.model, str(self.key.version)
        for name, one in report.outputs.items():
            if name in self._compared.outputs:
                self._metrics.observe(MIRROR_RELATIVE_L2, model, version, name, value=one.relative_l2)
                self._metrics.count(MIRROR_FLIPS, model, version, name, by=one.flipped_rows)

    def close(self) -> None:
        """Withdraw the copies that are on their way."""
        for copy in tuple(self._open):
            copy.withdraw()
        self._open.clear()


class _OpenCopy:
    """A copy that is on its way; implements `core.routing.transport.Waiting`."""

    __slots__ = ("_is_over", "_mirror", "began_s", "sent", "size")

    def __init__(self, mirror: _Mirror, size: int, began_s: float) -> None:
        self._mirror = mirror
        self._is_over = False
        self.size = size
        self.began_s = began_s
        self.sent: OpenCall | None = None

    def done(self) -> bool:
        return self._is_over

    def set_result(self, result: Answer, /) -> None:
        """Take the report; an error instead of one says nothing of the version."""
        report = DROPPED_PAIR
        if result.code is Code.OK:
            try:
                report = unpacked_report(result.body)
            except ServingError as error:
                log.warning("copy_not_reported model=%s error=%r", self._mirror.key.model, str(error))
        self._end(report)

    def set_exception(self, exception: Exception, /) -> None:
        """Count a copy that was lost or came too late."""
        del exception
        self._end(DROPPED_PAIR)

    def _end(self, report: PairReport) -> None:
        if not self._is_over:
            self._is_over = True
            self._mirror.ended(self, report)

    def withdraw(self) -> None:
        """Cancel the copy; nothing counts it."""
        self._is_over = True
        if self.sent is not None:
            self.sent.withdraw()
