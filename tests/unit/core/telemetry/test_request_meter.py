"""Requests under the names that clients sent."""

from __future__ import annotations

from core.errors import Code
from core.telemetry.metric_names import REQUEST_COUNT, REQUEST_LATENCY
from core.telemetry.metrics import Distribution, Exemplar, Metrics
from core.telemetry.request_meter import (
    LONGEST_UNKNOWN_NAME,
    MOST_UNKNOWN_NAMES,
    OTHER_NAMES,
    RequestMeter,
    TracedRequestMeter,
)


class Site:
    """A meter that knows one model."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.models = {"known"}
        self.meter = RequestMeter(self.metrics, self.models.__contains__)

    @property
    def counts(self) -> dict[tuple[str, ...], float]:
        return dict(self.metrics.snapshot().counters.get(REQUEST_COUNT.name, {}))

    @property
    def latencies(self) -> dict[tuple[str, ...], Distribution]:
        return dict(self.metrics.snapshot().distributions.get(REQUEST_LATENCY.name, {}))


def test_requests_are_counted_by_name_and_status() -> None:
    """The status is the code's name."""
    site = Site()

    for code in (Code.OK, Code.NOT_FOUND, Code.NOT_FOUND):
        site.meter.answered("known", code)

    assert site.counts == {("known", "OK"): 1, ("known", "NOT_FOUND"): 2}
    assert site.latencies == {}


def test_only_successful_requests_are_timed() -> None:
    """In microseconds, by method and protocol."""
    site = Site()

    site.meter.succeeded("known", "REST", "predict", 0.000012)
    site.meter.succeeded("known", "REST", "predict", 0.000019)

    assert site.counts == {("known", "OK"): 2}
    [(labels, observed)] = site.latencies.items()
    assert labels == ("known", "predict", "REST")
    assert (observed.counts[:3], round(observed.sum, 6)) == ((0, 1, 1), 31)


def test_a_request_without_a_name_is_counted_without_one() -> None:
    """So does TensorFlow Serving with a malformed request."""
    site = Site()

    site.meter.answered("", Code.INVALID_ARGUMENT)
    site.meter.succeeded("", "REST", "", 0.1)

    assert site.counts == {("", "INVALID_ARGUMENT"): 1, ("", "OK"): 1}
    assert list(site.latencies) == [("", "", "REST")]


def test_unknown_names_cannot_fill_the_memory() -> None:
    """The first ones are shown, and stay; all others share one cell."""
    site = Site()
    names = [f"unknown{number}" for number in range(MOST_UNKNOWN_NAMES + 50)]

    for name in names * 2:
        site.meter.answered(name, Code.NOT_FOUND)
        site.meter.succeeded(name, "REST", "predict", 0.1)

    shown = {name for name, _ in site.counts}
    assert shown == {*names[:MOST_UNKNOWN_NAMES], OTHER_NAMES}
    assert site.counts[OTHER_NAMES, "NOT_FOUND"] == 100
    assert len(site.latencies) == MOST_UNKNOWN_NAMES + 1


def test_long_unknown_names_are_not_kept() -> None:
    """A name of a megabyte must not stay on the page."""
    site = Site()

    site.meter.answered("n" * LONGEST_UNKNOWN_NAME, Code.NOT_FOUND)
    site.meter.answered("n" * (LONGEST_UNKNOWN_NAME + 1), Code.NOT_FOUND)

    assert set(site.counts) == {("n" * LONGEST_UNKNOWN_NAME, "NOT_FOUND"), (OTHER_NAMES, "NOT_FOUND")}


def test_a_model_always_counts_under_its_own_name() -> None:
    """Also when clients asked for many others before, and when it was unknown itself until now."""
    site = Site()
    for number in range(MOST_UNKNOWN_NAMES + 1):
        site.meter.answered(f"unknown{number}", Code.NOT_FOUND)
    site.meter.answered("late", Code.NOT_FOUND)
    site.models.add("late")

    site.meter.answered("late", Code.OK)
    site.meter.answered("known", Code.OK)

    assert site.counts["late", "OK"] == site.counts["known", "OK"] == 1
    assert site.counts[OTHER_NAMES, "NOT_FOUND"] == 2


def test_the_trace_of_a_request_stands_by_what_counted_it() -> None:
    """By its count and, where it succeeded, its latency; a request without a trace leaves both alone."""
    metrics, trace = Metrics(), ["a" * 32]
    meter = TracedRequestMeter(metrics, {"known"}.__contains__, lambda: trace[0], lambda: 7.0)

    meter.succeeded("known", "REST", "predict", 0.000012)
    meter.answered("known", Code.NOT_FOUND)
    trace[0] = ""
    meter.succeeded("known", "REST", "predict", 0.000013)
    meter.answered("nobody", Code.NOT_FOUND)

    one = Exemplar("a" * 32, 1, 7.0)
    snapshot = metrics.snapshot()
    assert snapshot.exemplars == {
        REQUEST_COUNT.name: {("known", "OK"): {0: one}, ("known", "NOT_FOUND"): {0: one}},
        REQUEST_LATENCY.name: {("known", "predict", "REST"): {1: Exemplar("a" * 32, 12.0, 7.0)}},
    }
    assert snapshot.counters[REQUEST_COUNT.name]["known", "OK"] == 2


def test_exemplars_of_unknown_names_are_bounded_as_their_counts_are() -> None:
    """Clients choose the names."""
    metrics = Metrics()
    meter = TracedRequestMeter(metrics, {"known"}.__contains__, lambda: "a" * 32, lambda: 7.0)

    for number in range(MOST_UNKNOWN_NAMES + 10):
        meter.answered(f"nobody {number}", Code.NOT_FOUND)

    snapshot = metrics.snapshot()
    assert snapshot.exemplars[REQUEST_COUNT.name].keys() == snapshot.counters[REQUEST_COUNT.name].keys()
