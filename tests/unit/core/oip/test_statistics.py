"""Statistics of versions from the metrics of their model servers."""

from __future__ import annotations

import pytest

from core.oip.statistics import (
    NOTHING_YET,
    TimedCount,
    VersionStatistics,
    statistics_json,
    statistics_message,
    statistics_of,
)
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
from core.telemetry.metric_report import Report, to_bytes
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId

M1 = ServableId("m", 1)


def counted(version: str = "1", *, last_s: float = 1_700_000_000.5, batches: int = 0) -> Metrics:
    """Count as the model server of a version does that answered two requests of three rows, and failed once."""
    metrics = Metrics()
    for wait_s in (0.25, 0.25):
        metrics.observe(QUEUE_SECONDS, "m", version, value=wait_s)
        metrics.observe(SIGNATURE_SECONDS, "m", version, "serving_default", value=1.0)
    metrics.count(SIGNATURE_REQUESTS, "m", version, "serving_default", "Predict", "OK", by=1)
    metrics.count(SIGNATURE_REQUESTS, "m", version, "serving_default", "ModelInfer", "OK", by=1)
    metrics.count(SIGNATURE_REQUESTS, "m", version, "", "ModelInfer", "INVALID_ARGUMENT")
    metrics.count(GRAPH_RUNS, by=2)
    metrics.count(GRAPH_RUN_TIME, by=1_500_000)
    metrics.count(INFERENCE_ROWS, "m", version, by=6)
    metrics.count(BATCH_RUN_COUNT, by=batches)
    metrics.set(LAST_INFERENCE, "m", version, to=last_s)
    return metrics


def report(metrics: Metrics) -> bytes:
    return to_bytes(Report("p", 1, metrics.snapshot()))


def statistics(*counts: Metrics, wanted: tuple[ServableId, ...] = (M1,)) -> dict[ServableId, VersionStatistics]:
    return dict(statistics_of(map(report, counts), wanted))


def test_requests_rows_and_times_are_those_of_the_version() -> None:
    """Queueing before a request is read is a part of its time."""
    assert statistics(counted())[M1] == VersionStatistics(
        last_inference_ms=1_700_000_000_500,
        rows=6,
        runs=2,
        success=TimedCount(2, 2_500_000_000),
        fail=TimedCount(1),
        queue=TimedCount(2, 500_000_000),
        compute=TimedCount(2, 1_500_000_000),
    )


def test_with_batching_the_wait_for_a_batch_is_not_computing() -> None:
    """There a request waits after it is read, and several share a run."""
    batched = statistics(counted(batches=1))[M1]

    assert batched.runs == 1
    assert batched.success == TimedCount(2, 2_000_000_000)
    assert batched.compute == TimedCount(2, 1_000_000_000)


def test_requests_that_a_batching_version_ran_alone_are_runs_too() -> None:
    """Those with a fixed number of rows have not waited in its queue."""
    alone = counted(batches=1)
    alone.count(GRAPH_RUNS, by=3)

    assert statistics(alone)[M1].runs == 4


def test_replicas_are_added_up_and_the_newest_time_counts() -> None:
    """A version may have several."""
    both = statistics(counted(last_s=20.0), counted(last_s=10.0))[M1]

    assert (both.rows, both.runs, both.success.count, both.fail.count) == (12, 4, 4, 2)
    assert both.last_inference_ms == 20_000


def test_metadata_is_not_an_inference() -> None:
    """It runs nothing, and its time would spoil that of the others."""
    metrics = counted()
    for method in ("GetModelMetadata", "ModelMetadata"):
        metrics.count(SIGNATURE_REQUESTS, "m", "1", "", method, "OK")
        metrics.observe(SIGNATURE_SECONDS, "m", "1", "", value=9.0)

    assert statistics(metrics) == statistics(counted())


def test_only_what_was_asked_for_is_told_and_what_did_nothing_is_there() -> None:
    """In the order of the question; other versions and other processes report too."""
    other, router = ServableId("n", 7), Metrics()

    assert statistics(counted("2"), router, wanted=(other, M1)) == {other: NOTHING_YET, M1: NOTHING_YET}


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"process":"p","number":1}', b"\xff"])
def test_a_report_that_cannot_be_read_is_about_nothing(raw) -> None:
    """During an update, model servers of another version of this program may answer."""
    assert statistics_of([raw], (M1,)) == {M1: NOTHING_YET}


def test_the_document_has_every_member_that_clients_read() -> None:
    """Load tools take the members for granted, and end where the counts of computing differ from each other."""
    [one] = statistics_json(statistics(counted()))["model_stats"]

    nothing, untimed = {"count": 0, "ns": 0}, {"count": 2, "ns": 0}
    assert one == {
        "name": "m",
        "version": "1",
        "last_inference": 1_700_000_000_500,
        "inference_count": 6,
        "execution_count": 2,
        "inference_stats": {
            "success": {"count": 2, "ns": 2_500_000_000},
            "fail": {"count": 1, "ns": 0},
            "queue": {"count": 2, "ns": 500_000_000},
            "compute_input": untimed,
            "compute_infer": {"count": 2, "ns": 1_500_000_000},
            "compute_output": untimed,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def test_the_message_says_the_same() -> None:
    """Over gRPC."""
    [one] = oip_pb2.ModelStatisticsResponse.FromString(statistics_message(statistics(counted()))).model_stats

    assert (one.name, one.version, one.last_inference) == ("m", "1", 1_700_000_000_500)
    assert (one.inference_count, one.execution_count) == (6, 2)
    stats = one.inference_stats
    assert (stats.success.count, stats.success.ns, stats.fail.count) == (2, 2_500_000_000, 1)
    assert (stats.queue.ns, stats.compute_infer.ns) == (500_000_000, 1_500_000_000)
    assert (stats.compute_input.count, stats.compute_output.count) == (2, 2)
