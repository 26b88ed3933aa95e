"""Statistics of versions as clients of the Open Inference Protocol read them, from the metrics of model servers.

A report of metrics comes from one model server, which serves one version; its counters without a label for the version
are that version's too. Requests of a version's warm-up are counted with all others. Failed requests are not timed, and
reading and writing of tensors is not timed apart from the whole request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.errors import Code, InvalidArgument
from core.protos import oip_pb2
from core.telemetry.metric_names import (
    BATCH_RUN_COUNT,
    GRAPH_RUN_TIME,
    GRAPH_RUNS,
    INFERENCE_ROWS,
    LAST_INFERENCE,
    QUEUE_SECONDS,
    SIGNATURE_REQUESTS,
    SIGNATURE_SECONDS,
)
from core.telemetry.metric_report import from_bytes
from core.telemetry.metrics import Labels, Metric, MetricSnapshot
from core.versions.servable import ServableId

NO_INFERENCE: Final = frozenset({"GetModelMetadata", "ModelMetadata"})
"""Methods that answer without running the model."""

_NS_PER_S: Final = 1_000_000_000
_NS_PER_MICRO: Final = 1000
_MS_PER_S: Final = 1000


@dataclass(frozen=True, slots=True)
class TimedCount:
    """How often something happened, and the nanoseconds that it took in all."""

    count: int = 0
    ns: int = 0

    def plus(self, other: TimedCount) -> TimedCount:
        """Add those of another model server."""
        return TimedCount(self.count + other.count, self.ns + other.ns)


@dataclass(frozen=True, slots=True)
class VersionStatistics:
    """What a version has done since its model servers began.

    `last_inference_ms` counts from the epoch; `rows` are inferences, `runs` executions of the model: with batching, one
    run may answer several requests. `queue` and `compute` are parts of `success`.
    """

    last_inference_ms: int = 0
    rows: int = 0
    runs: int = 0
    success: TimedCount = TimedCount()
    fail: TimedCount = TimedCount()
    queue: TimedCount = TimedCount()
    compute: TimedCount = TimedCount()

    @property
    def untimed(self) -> TimedCount:
        """Reading and writing of tensors: as often as computing, because load tools refuse different counts."""
        return TimedCount(self.compute.count)

    def plus(self, other: VersionStatistics) -> VersionStatistics:
        """Add those of another model server; of two times, the newer one counts."""
        return VersionStatistics(
            max(self.last_inference_ms, other.last_inference_ms),
            self.rows + other.rows,
            self.runs + other.runs,
            self.success.plus(other.success),
            self.fail.plus(other.fail),
            self.queue.plus(other.queue),
            self.compute.plus(other.compute),
        )


NOTHING_YET: Final = VersionStatistics()

Statistics = Mapping[ServableId, VersionStatistics]


def statistics_of(reports: Iterable[bytes], wanted: Iterable[ServableId]) -> Statistics:
    """Return the statistics of some versions, in their order; one that no report is about has done nothing yet."""
    sums = dict.fromkeys(wanted, NOTHING_YET)
    for report in reports:
        for servable, more in _in_report(report).items():
            if servable in sums:
                sums[servable] = sums[servable].plus(more)
    return sums


def statistics_json(statistics: Statistics) -> Mapping[str, Any]:
    """Return the document of REST; clients and load tools expect each of its members (Triton)."""
    return {"model_stats": [_plain(servable, one) for servable, one in statistics.items()]}


def statistics_message(statistics: Statistics) -> bytes:
    """Return a ModelStatisticsResponse."""
    stats = [_message(servable, one) for servable, one in statistics.items()]
    return oip_pb2.ModelStatisticsResponse(model_stats=stats).SerializeToString()


def _in_report(raw: bytes) -> Statistics:
    """Read a report; one that cannot be read, or is not a model server's, is about nothing."""
    try:
        snapshot = from_bytes(raw).snapshot
    except InvalidArgument:
        return {}
    versions = (labels for labels in snapshot.distributions.get(QUEUE_SECONDS.name, {}) if labels[1].isdigit())
    return {ServableId(labels[0], int(labels[1])): _of_version(snapshot, labels) for labels in versions}


def _of_version(snapshot: MetricSnapshot, version: Labels) -> VersionStatistics:
    waits = snapshot.distributions[QUEUE_SECONDS.name][version]
    queue_ns = int(waits.sum * _NS_PER_S)
    requests, run_ns = _count(snapshot, GRAPH_RUNS), _count(snapshot, GRAPH_RUN_TIME) * _NS_PER_MICRO
    batches = _count(snapshot, BATCH_RUN_COUNT)
    answered_ns = int(sum(one for labels, one in _seconds(snapshot, version) if labels[2]) * _NS_PER_S)
    succeeded, failed = _requests(snapshot, version)
    alone = max(0, requests - sum(waits.counts)) if batches else requests
    # With batching, a request waits between its reading and its writing; without, before it is read.
    inside_ns, before_ns = (queue_ns, 0) if batches else (0, queue_ns)
    return VersionStatistics(
        int(snapshot.gauges.get(LAST_INFERENCE.name, {}).get(version, 0) * _MS_PER_S),
        _count(snapshot, INFERENCE_ROWS, version),
        batches + alone,
        TimedCount(succeeded, answered_ns + before_ns),
        TimedCount(failed),
        TimedCount(succeeded, queue_ns),
        TimedCount(succeeded, max(0, run_ns - inside_ns)),
    )


def _requests(snapshot: MetricSnapshot, version: Labels) -> tuple[int, int]:
    """Return how many inference requests succeeded, and how many failed."""
    counts = {True: 0, False: 0}
    for labels, count in snapshot.counters.get(SIGNATURE_REQUESTS.name, {}).items():
        if labels[:2] == version and labels[3] not in NO_INFERENCE:
            counts[labels[4] == Code.OK.name] += int(count)
    return counts[True], counts[False]


def _seconds(snapshot: MetricSnapshot, version: Labels) -> list[tuple[Labels, float]]:
    cells = snapshot.distributions.get(SIGNATURE_SECONDS.name, {})
    return [(labels, one.sum) for labels, one in cells.items() if labels[:2] == version]


def _count(snapshot: MetricSnapshot, metric: Metric, labels: Labels = ()) -> int:
    return int(snapshot.counters.get(metric.name, {}).get(labels, 0))


def _plain(servable: ServableId, one: VersionStatistics) -> Mapping[str, Any]:
    return {
        "name": servable.name,
        "version": str(servable.version),
        "last_inference": one.last_inference_ms,
        "inference_count": one.rows,
        "execution_count": one.runs,
        "inference_stats": {
            "success": _timed(one.success),
            "fail": _timed(one.fail),
            "queue": _timed(one.queue),
            "compute_input": _timed(one.untimed),
            "compute_infer": _timed(one.compute),
            "compute_output": _timed(one.untimed),
            "cache_hit": _timed(TimedCount()),
            "cache_miss": _timed(TimedCount()),
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _timed(one: TimedCount) -> Mapping[str, int]:
    return {"count": one.count, "ns": one.ns}


def _message(servable: ServableId, one: VersionStatistics) -> oip_pb2.ModelStatistics:
    inference_stats = oip_pb2.InferStatistics(
        success=_duration(one.success),
        fail=_duration(one.fail),
        queue=_duration(one.queue),
        compute_input=_duration(one.untimed),
        compute_infer=_duration(one.compute),
        compute_output=_duration(one.untimed),
    )
    return oip_pb2.ModelStatistics(
        name=servable.name,
        version=str(servable.version),
        last_inference=one.last_inference_ms,
        inference_count=one.rows,
        execution_count=one.runs,
        inference_stats=inference_stats,
    )


def _duration(one: TimedCount) -> oip_pb2.StatisticDuration:
    return oip_pb2.StatisticDuration(count=one.count, ns=one.ns)
