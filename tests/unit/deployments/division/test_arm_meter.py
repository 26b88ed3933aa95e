"""Tests of the counts of an arm: what its callers saw, and what the analysis may look at."""

from __future__ import annotations

import pytest

from core.delivery.arm_counts import LATENCY_EDGES_S, ArmCounts, Tally, bucket_of
from core.delivery.choice import KeysSeen
from core.delivery.split import ArmKey
from core.errors import Code
from core.telemetry.metric_names import SPLIT_REQUESTS
from core.telemetry.metrics import Metrics
from deployments.division.arm_meter import COLD_REQUESTS, ArmMeter, JudgedArm, ShownArm, Warmth

TOOK_S = 0.01
LAST = len(LATENCY_EDGES_S)


def at(*buckets: int) -> tuple[int, ...]:
    """Return latencies in these buckets."""
    return tuple(buckets.count(one) for one in range(LAST + 1))


class Arms:
    """A meter of a version that is warm unless a test says otherwise."""

    def __init__(self, *, is_warm: bool = True) -> None:
        self.metrics = Metrics()
        warmth = Warmth()
        while is_warm and warmth.is_cold():
            pass
        self.meter = ArmMeter(ArmKey("m", 3, 8), "canary", warmth, self.metrics)
        self.shown = ShownArm(self.meter)
        self.judged = JudgedArm(self.meter, KeysSeen(), self.shown)

    @property
    def cells(self) -> dict[str, float]:
        """The metric, by outcome."""
        counted = self.metrics.snapshot().counters.get(SPLIT_REQUESTS.name, {})
        return {labels[3]: value for labels, value in counted.items() if labels[:3] == ("m", "8", "canary")}


def test_an_answer_is_counted_with_its_latency() -> None:
    """For people and for the analysis."""
    arms = Arms()

    arms.judged.answered(Code.OK, TOOK_S)

    tally = Tally(1, latency=at(bucket_of(TOOK_S)))
    assert arms.meter.counts() == ArmCounts(tally, tally)
    assert arms.cells == {"ok": 1}


@pytest.mark.parametrize(
    ("code", "server_errors", "client_errors", "outcome"),
    [
        (Code.INTERNAL, 1, 0, "server_error"),
        (Code.RESOURCE_EXHAUSTED, 1, 0, "server_error"),
        (Code.CANCELLED, 1, 0, "server_error"),
        (Code.INVALID_ARGUMENT, 0, 1, "client_error"),
    ],
)
def test_errors_are_counted_by_whose_fault_they_are(code, server_errors, client_errors, outcome) -> None:
    """A version that answers CANCELLED, which no caller did, has failed."""
    arms = Arms()

    arms.judged.answered(code, TOOK_S)

    assert arms.meter.counts().judged == Tally(1, server_errors, client_errors, at(bucket_of(TOOK_S)))
    assert arms.cells == {outcome: 1}


@pytest.mark.parametrize("code", [Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE])
def test_a_request_without_an_answer_is_slow_too(code: Code) -> None:
    """However soon its caller's time was up."""
    arms = Arms()

    arms.judged.answered(code, TOOK_S)

    assert arms.meter.counts().judged == Tally(1, 1, 0, at(LAST))


def test_a_caller_that_gave_up_is_no_error_but_waited_so_long() -> None:
    """A version that hangs must not look fast because its callers go."""
    arms = Arms()

    arms.judged.gave_up(30.0)

    assert arms.meter.counts().judged == Tally(1, 0, 0, at(bucket_of(30.0)))
    assert arms.cells == {"cancelled": 1}


def test_a_lost_try_is_a_failure_of_its_version_and_its_repetition_is_not_judged() -> None:
    """Its caller sees one request, which went well."""
    arms = Arms()

    arms.judged.lost().answered(Code.OK, TOOK_S)

    assert arms.meter.counts().shown == Tally(1, latency=at(bucket_of(TOOK_S)))
    assert arms.meter.counts().judged == Tally(1, 1, 0, at(LAST))
    assert arms.cells == {"lost": 1, "ok": 1}


def test_what_is_not_judged_is_shown() -> None:
    """Retries, further requests of a key, requests by a label."""
    arms = Arms()

    arms.shown.answered(Code.INTERNAL, TOOK_S)
    arms.shown.gave_up(TOOK_S)
    arms.shown.lost().answered(Code.OK, TOOK_S)
    arms.shown.take_back()

    assert arms.meter.counts().judged == Tally(latency=at())
    assert arms.meter.counts().shown == Tally(3, 1, 0, at(*[bucket_of(TOOK_S)] * 3))


def test_first_requests_say_nothing_of_speed() -> None:
    """A version that begins is slow, and its time-outs come from that; other errors count at once."""
    arms = Arms(is_warm=False)
    for _ in range(COLD_REQUESTS - 3):
        arms.judged.answered(Code.OK, 20.0)
    arms.judged.answered(Code.DEADLINE_EXCEEDED, 20.0)
    arms.judged.gave_up(20.0)
    arms.judged.answered(Code.INTERNAL, 20.0)
    assert arms.meter.counts().judged == Tally(COLD_REQUESTS, 1, 0, at())

    arms.judged.answered(Code.DEADLINE_EXCEEDED, 20.0)
    arms.judged.gave_up(TOOK_S)

    assert arms.meter.counts().judged == Tally(COLD_REQUESTS + 2, 2, 0, at(LAST, bucket_of(TOOK_S)))
    assert arms.meter.counts().shown.requests == COLD_REQUESTS + 2
    assert sum(arms.meter.counts().shown.latency) == COLD_REQUESTS + 2


def test_a_version_is_new_once_whatever_its_shares_are() -> None:
    """Each step of a rollout has counts of its own, but no new first requests."""
    warmth, metrics = Warmth(), Metrics()
    meters = [ArmMeter(ArmKey("m", epoch, 8), "canary", warmth, metrics) for epoch in (1, 2)]
    for _ in range(COLD_REQUESTS):
        meters[0].answered(Code.OK, TOOK_S, is_judged=False)

    meters[1].answered(Code.OK, TOOK_S, is_judged=True)

    assert meters[1].counts().judged == Tally(1, latency=at(bucket_of(TOOK_S)))
