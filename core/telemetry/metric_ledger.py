"""Adding up the numbers of all processes, so that a sum never falls although processes come and go.

Theory of operation. Each process counts from zero and reports its numbers again and again, each report with a higher
number of its own. The ledger keeps the newest report of every process it ever heard of; a sum is the sum over all of
them. So it does not matter whether a process is alive, in which order reports come, or how often one comes: a later
report only replaces an earlier one of the same process, and that one was not larger. A process that is silent for long
is folded into `retired`, which changes no sum, and is forgotten; should it come back, it is not listened to. What it
counted for one version only goes with it, so that the sums do not grow with every rollout. Gauges are different: they
are true only while their process lives, and count while it was heard lately.

The ledger is written in one place only, and handed out with every sum (`kept`), so that its next writer goes on from
the newest copy (`adopted`). Copies are ordered by `stamp`: the epoch rises with each writer, the version with each
change. A sum that was shown is lost only if its writer and all who have the copy end at the same time.
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
"""A process that was not heard for so long has no gauges any more: reports come every ten seconds."""

FOLDED_AFTER_S = 3600.0
"""A process that was not heard for so long is gone."""

MOST_PROCESSES = 1000
"""With more processes than these, those that are silent longest are folded after `FOLDED_EARLY_AFTER_S` already."""

FOLDED_EARLY_AFTER_S = 120.0
FOLDED_REMEMBERED = 2000

OF_ONE_VERSION = frozenset({"version", "model_path"})
"""Labels of numbers that mean nothing after their version has gone."""

Stamp = tuple[int, int]
"""Epoch and version."""

NO_STAMP: Stamp = (0, 0)


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest report of a process, and when it came."""

    report: Report
    at_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The newest numbers of all processes; never edited, each change gives a new one."""

    epoch: int = 0
    version: int = 0
    heard: Mapping[str, Heard] = field(default_factory=dict)
    retired: MetricSnapshot = field(default_factory=MetricSnapshot)
    folded: tuple[str, ...] = ()

    @property
    def stamp(self) -> Stamp:
        """Return which of two copies is newer."""
        return self.epoch, self.version

    def after(self, reports: Iterable[Report], now_s: float) -> Ledger:
        """Take reports; late and repeated ones change nothing."""
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
        """Fold what has been silent for long."""
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
        """Name what is gone, and, when there are too many, what probably is."""
        spare = max(0, len(self.heard) - MOST_PROCESSES)
        by_silence = sorted(self.heard.items(), key=lambda item: item[1].at_s)
        return {
            process: one
            for place, (process, one) in enumerate(by_silence)
            if now_s - one.at_s > (FOLDED_EARLY_AFTER_S if place < spare else FOLDED_AFTER_S)
        }

    def total(self, now_s: float) -> MetricSnapshot:
        """Add everything up."""
        return merged((self.retired, *(_true_at(one, now_s) for one in self.heard.values())))


def _true_at(one: Heard, now_s: float) -> MetricSnapshot:
    return one.report.snapshot if now_s - one.at_s <= GAUGES_LAST_S else one.report.snapshot.lasting()


def _retired(snapshot: MetricSnapshot) -> MetricSnapshot:
    """Return what is still worth counting of a process that is gone."""
    return MetricSnapshot(
        {name: cells for name, cells in snapshot.counters.items() if _outlives_versions(name)},
        {},
        {name: cells for name, cells in snapshot.distributions.items() if _outlives_versions(name)},
    )


def _outlives_versions(name: str) -> bool:
    metric = BY_NAME.get(name)
    return metric is not None and OF_ONE_VERSION.isdisjoint(metric.labels)


def kept(ledger: Ledger) -> bytes:
    """Write what the next writer of the ledger must know; gauges are reported anew."""
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
    """Begin a new epoch from the newest copy; one that cannot be read does not count."""
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
    """What a router keeps of the ledger."""

    stamp: Stamp
    ledger: bytes


@dataclass(frozen=True, slots=True)
class Collected:
    """What a router gets for its reports: the page if it asked for it, and a copy if its own is not the newest."""

    page: bytes = b""
    copy: Copy | None = None
