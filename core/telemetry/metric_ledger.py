"""Sums the metrics of all processes, so that a sum never decreases although processes start and end.

Theory of operation. Each process counts from zero and reports its metrics repeatedly, with a report number that rises.
The ledger keeps the newest report of every process; a sum is the sum over all of them. So it does not matter whether a
process is alive, in which order its reports arrive, or how often one arrives: a later report replaces an earlier one of
the same process, whose counters were not larger. A process without reports for a long time is folded into `retired`,
which changes no sum, and is dropped; later reports of it are ignored. Its metrics with a label for one version are
dropped too, so that the page does not grow with every rollout. Gauges are different: they are valid only while their
process lives, and are included while its last report is recent.

The ledger has one writer, and a copy of it is sent out with every sum (`kept`), so that the next writer continues from
the newest copy (`adopted`). Copies are ordered by `stamp`: the epoch rises with each writer, the version with each
change. A published sum is lost only if the writer and all processes with a copy end at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from core.errors import InvalidArgument
from core.telemetry.metric_names import BY_NAME
from core.telemetry.metric_report import Report, parsed, plain_report, plain_snapshot, report_from, snapshot_from
from core.telemetry.metrics import MetricSnapshot, merged

GAUGES_LAST_S = 25.0
"""Age of a report from which on its gauges are not included: reports arrive every ten seconds."""

FOLDED_AFTER_S = 3600.0
"""Age of its last report from which on a process counts as ended."""

MOST_PROCESSES = 1000
"""With more processes than these, those with the oldest reports are folded after `FOLDED_EARLY_AFTER_S` already."""

FOLDED_EARLY_AFTER_S = 120.0
FOLDED_REMEMBERED = 2000

OF_ONE_VERSION = frozenset({"version", "model_path"})
"""Labels of metrics that are dropped with the last process of their version."""

Stamp = tuple[int, int]
"""Epoch and version."""

NO_STAMP: Stamp = (0, 0)


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest report of a process, and when it arrived."""

    report: Report
    at_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The newest metrics of all processes; immutable, each change returns a new one."""

    epoch: int = 0
    version: int = 0
    heard: Mapping[str, Heard] = field(default_factory=dict)
    retired: MetricSnapshot = field(default_factory=MetricSnapshot)
    folded: tuple[str, ...] = ()

    @property
    def stamp(self) -> Stamp:
        """Return the order of this copy among others."""
        return self.epoch, self.version

    def after(self, reports: Iterable[Report], now_s: float) -> Ledger:
        """Return a ledger with more reports; late and repeated ones change nothing."""
        heard = dict(self.heard)
        folded = frozenset(self.folded)
        is_new = False
        for report in reports:
            known = heard.get(report.process)
            if report.process in folded or (known is not None and report.number <= known.report.number):
                continue
            heard[report.process] = Heard(report, now_s)
            is_new |= known is None or report.snapshot.lasting() != known.report.snapshot.lasting()
        return replace(self, version=self.version + is_new, heard=heard).folding(now_s)

    def folding(self, now_s: float) -> Ledger:
        """Return a ledger in which processes without recent reports are folded."""
        gone = self._long_silent(now_s)
        if not gone:
            return self
        return replace(
            self,
            version=self.version + 1,
            heard={process: one for process, one in self.heard.items() if process not in gone},
            retired=merged((self.retired, *(_retired(one.report.snapshot) for one in gone.values()))),
            folded=(*self.folded, *gone)[-FOLDED_REMEMBERED:],
        )

    def _long_silent(self, now_s: float) -> dict[str, Heard]:
        """Return the processes that have ended, and, when there are too many, those that probably have."""
        spare = max(0, len(self.heard) - MOST_PROCESSES)
        by_silence = sorted(self.heard.items(), key=lambda item: item[1].at_s)
        return {
            process: one
            for place, (process, one) in enumerate(by_silence)
            if now_s - one.at_s > (FOLDED_EARLY_AFTER_S if place < spare else FOLDED_AFTER_S)
        }

    def total(self, now_s: float) -> MetricSnapshot:
        """Return the sums over all processes."""
        return merged((self.retired, *(_true_at(one, now_s) for one in self.heard.values())))


def _true_at(one: Heard, now_s: float) -> MetricSnapshot:
    return one.report.snapshot if now_s - one.at_s <= GAUGES_LAST_S else one.report.snapshot.lasting()


def _retired(snapshot: MetricSnapshot) -> MetricSnapshot:
    """Return the metrics of an ended process that stay in the sums."""
    return MetricSnapshot(
        {name: cells for name, cells in snapshot.counters.items() if _outlives_versions(name)},
        {},
        {name: cells for name, cells in snapshot.distributions.items() if _outlives_versions(name)},
    )


def _outlives_versions(name: str) -> bool:
    metric = BY_NAME.get(name)
    return metric is not None and OF_ONE_VERSION.isdisjoint(metric.labels)


def plain_sums(snapshot: MetricSnapshot) -> bytes:
    """Return sums as JSON, which `snapshot_from` reads."""
    return orjson.dumps(plain_snapshot(snapshot))


def kept(ledger: Ledger) -> bytes:
    """Return the copy from which the next writer continues; gauges are left out, because they are reported again."""
    return orjson.dumps(
        {
            "epoch": ledger.epoch,
            "version": ledger.version,
            "heard": [_kept_report(one.report) for one in ledger.heard.values()],
            "retired": plain_snapshot(ledger.retired),
            "folded": ledger.folded,
        }
    )


def _kept_report(report: Report) -> dict[str, object]:
    return dict(plain_report(replace(report, snapshot=report.snapshot.lasting())))


def adopted(copies: Iterable[bytes], now_s: float) -> Ledger:
    """Return a ledger of a new epoch, made from the newest copy that can be read."""
    newest = max((_read(copy, now_s) for copy in copies), key=lambda ledger: ledger.stamp, default=Ledger())
    return replace(newest, epoch=newest.epoch + 1, version=0)


def _read(copy: bytes, now_s: float) -> Ledger:
    try:
        document = parsed(copy)
        reports = [report_from(one) for one in document["heard"]]
        return Ledger(
            int(document["epoch"]),
            int(document["version"]),
            {report.process: Heard(report, now_s) for report in reports},
            snapshot_from(document["retired"]),
            tuple(document["folded"]),
        )
    except (InvalidArgument, KeyError, TypeError, ValueError, AttributeError):
        return Ledger()


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the ledger, as routers keep it."""

    stamp: Stamp
    ledger: bytes


@dataclass(frozen=True, slots=True)
class Collected:
    """The answer to the reports of a router: the page if requested, and a copy if its own is not the newest.

    `plain`: with the page, the sums that it shows as JSON (`plain_snapshot`).
    """

    page: bytes = b""
    copy: Copy | None = None
    plain: bytes = b"{}"
