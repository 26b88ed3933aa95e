"""Rates and latencies from sums that come now and then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.telemetry.metric_names import FULL, REFUSED_REQUESTS, REPLICAS, SIGNATURE_REQUESTS, SIGNATURE_SECONDS
from core.telemetry.metrics import Metrics, merged
from core.telemetry.traffic import (
    KEPT_S,
    REFUSED,
    STEP_S,
    WINDOW_S,
    Count,
    Rates,
    Sample,
    Traffic,
    TrafficHistory,
    Version,
    counts,
    quantile,
)

M1: Version = ("m", "1")
LIMITS = SIGNATURE_SECONDS.buckets


def count(requests: float, *, bucket: int = 3) -> Count:
    """Make counts of requests that all took equally long."""
    seconds = [0] * (len(LIMITS) + 1)
    seconds[bucket] = int(requests)
    return Count(requests, tuple(seconds))


def history(*samples: tuple[float, float]) -> TrafficHistory:
    """Make a history of one version from times and requests so far."""
    made = TrafficHistory()
    for at_s, requests in samples:
        made = made.after(Sample(at_s, {M1: count(requests)}))
    return made


def traffic(past: TrafficHistory) -> Traffic:
    return past.traffic(past.samples[-1].at_s)[M1]


def test_a_rate_is_the_difference_of_two_sums() -> None:
    """Over the time that passed between them."""
    assert traffic(history((100, 50), (110, 150))).rates.requests_per_s == 10.0


def test_what_was_counted_before_is_no_traffic() -> None:
    """A watcher that starts anew adopts old sums; they must not look like requests of its first second."""
    assert history((100, 1_000_000)).traffic(100.0) == {}
    assert traffic(history((100, 1_000_000), (110, 1_000_000))) == Traffic(Rates(0.0))


def test_without_samples_there_is_no_traffic() -> None:
    """Right after the start."""
    assert TrafficHistory().traffic(0.0) == {}


def test_the_present_numbers_are_those_of_the_window() -> None:
    """What was before it counts no more."""
    steps = [(10.0 * step, 1000.0 * min(step, 5)) for step in range(12)]

    assert traffic(history(*steps[:6])).rates.requests_per_s == 100.0
    assert traffic(history(*steps)).rates == Rates(0.0)


def test_the_window_reaches_back_to_the_newest_sample_that_is_old_enough() -> None:
    """Or to the oldest, while none is."""
    past = history((0, 0), (WINDOW_S - 10, 0), (WINDOW_S - 5, 100), (WINDOW_S + 1, 100))

    assert traffic(past).rates.requests_per_s == pytest.approx(100 / (WINDOW_S + 1))


def test_samples_that_come_often_do_not_fill_the_history() -> None:
    """Points stay a step apart, but the newest sample counts at once."""
    past = history(*((float(second), 7.0 * second) for second in range(1000)))

    gaps = [after.at_s - before.at_s for before, after in zip(past.samples, past.samples[1:], strict=False)]
    assert all(gap >= STEP_S for gap in gaps[:-1])
    assert past.samples[-1].at_s == 999
    assert past.samples[0].at_s > 999 - KEPT_S
    assert traffic(past).rates.requests_per_s == pytest.approx(7.0)


def test_errors_are_distinguished() -> None:
    """They are requests too, but have no latency."""
    past = TrafficHistory((Sample(100, {M1: Count(10, errors=4)}), Sample(110, {M1: Count(30, errors=14)})))

    assert traffic(past).rates == Rates(2.0, errors_per_s=1.0)


def test_a_sample_that_first_knows_a_version_stays() -> None:
    """Its requests count from there, although its predecessor is close."""
    past = history((100, 0), (110, 0))
    past = past.after(Sample(111, {M1: count(0), ("m", "2"): count(5)}))
    past = past.after(Sample(112, {M1: count(0), ("m", "2"): count(10)}))

    assert past.traffic(112)["m", "2"].rates.requests_per_s == 5.0


def test_a_curve_has_the_rates_between_its_samples() -> None:
    """Oldest first, with the age of each point at the time of the question."""
    past = history((100, 0), (110, 0), (120, 50), (130, 50))

    curve = past.traffic(131.0)[M1].curve

    assert [(one.ago_s, one.rates.requests_per_s) for one in curve] == [(21.0, 0.0), (11.0, 5.0), (1.0, 0.0)]
    assert [one.rates.p50_s is None for one in curve] == [True, False, True]


def test_latencies_have_three_quantiles() -> None:
    """Half of the good answers came within p50, and all but five or one in a hundred within p95 and p99."""
    seconds = [0] * (len(LIMITS) + 1)
    seconds[2], seconds[5], seconds[8] = 90, 7, 3
    past = TrafficHistory((Sample(100, {M1: Count()}), Sample(110, {M1: Count(100, tuple(seconds))})))

    rates = traffic(past).rates

    assert rates.p50_s is not None
    assert rates.p95_s is not None
    assert rates.p99_s is not None
    assert (
        LIMITS[1] < rates.p50_s < LIMITS[2] < LIMITS[4] < rates.p95_s < LIMITS[5] < LIMITS[7] < rates.p99_s < LIMITS[8]
    )


def test_an_idle_version_has_no_curve() -> None:
    """So that a thousand idle models do not make a large document."""
    assert traffic(history((100, 9), (110, 9), (120, 9))).curve == ()


def test_samples_too_close_together_give_no_rate() -> None:
    """A division by almost nothing would show a mountain."""
    assert history((100, 0), (100.1, 50)).traffic(100.1) == {}
    assert [one.ago_s for one in traffic(history((100, 0), (110, 5), (110.25, 9))).curve] == [0.25]


def test_a_sum_that_falls_is_no_traffic() -> None:
    """That happens when a process that is long gone is forgotten."""
    assert traffic(history((100, 500), (110, 20))).rates == Rates(0.0)


def test_a_version_that_comes_later_begins_with_its_first_sample() -> None:
    """What it answered before, it answered for its warm-up; one that goes is not shown."""
    both = Sample(110, {M1: count(5), ("m", "2"): count(7)})
    past = TrafficHistory((Sample(100, {M1: count(5)}), both))
    assert set(past.traffic(110)) == {M1}

    past = past.after(Sample(120, {("m", "2"): count(27)}))
    assert {version: one.rates.requests_per_s for version, one in past.traffic(120).items()} == {("m", "2"): 2.0}


def test_unchanged_counts_are_kept_once() -> None:
    """A history of many idle versions is small."""
    past = history((100, 9), (110, 9))

    assert past.samples[0].counts[M1] is past.samples[1].counts[M1]


def test_counts_add_up_over_processes_signatures_and_codes() -> None:
    """Errors are requests without a latency; a replica that has not answered yet makes its version known."""
    first, second = Metrics(), Metrics()
    for process, signature, code in ((first, "a", "OK"), (first, "b", "NOT_FOUND"), (second, "a", "OK")):
        process.count(SIGNATURE_REQUESTS, *M1, signature, "Predict", code)
    first.observe(SIGNATURE_SECONDS, *M1, "a", value=0.0)
    second.observe(SIGNATURE_SECONDS, *M1, "a", value=1e9)
    second.set(REPLICAS, "m", "2", to=1)

    found = counts(merged((first.snapshot(), second.snapshot())))

    assert found == {M1: Count(3, (1, *[0] * (len(LIMITS) - 1), 1), errors=1), ("m", "2"): Count()}


@pytest.mark.parametrize(
    ("share", "numbers", "expected"),
    [
        (0.5, (0, 0, 0, 0), None),
        (0.5, (10, 0, 0, 0), 0.5),
        (0.99, (0, 100, 0, 0), 1.99),
        (0.5, (5, 0, 5, 0), 1.0),
        (0.9, (5, 0, 5, 0), 3.6),
        (0.99, (1, 0, 0, 99), 4.0),
    ],
)
def test_a_quantile_lies_inside_its_bucket(share: float, numbers: tuple[int, ...], expected: float | None) -> None:
    """As far in as its share of the bucket's observations; beyond the last limit nothing is known."""
    found = quantile(share, numbers, (1.0, 2.0, 4.0))

    assert found == (None if expected is None else pytest.approx(expected))


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_an_estimate_is_never_more_than_a_bucket_off(values: list[float], share: float) -> None:
    """Whatever the observations are."""
    metrics = Metrics()
    for value in values:
        metrics.observe(SIGNATURE_SECONDS, *M1, "", value=value)
    found = quantile(share, metrics.histogram(SIGNATURE_SECONDS, *M1, "").value.counts, LIMITS)

    exact = sorted(values)[max(0, -int(-(share * len(values) - 1e-9) // 1) - 1)]
    assert found is not None
    assert found <= 2 * exact + LIMITS[0]
    assert found >= exact / 2 - LIMITS[0]


def test_what_is_refused_of_a_model_is_counted_for_all_reasons_together() -> None:
    """It is of no version, and no answer of a version."""
    metrics = Metrics()
    metrics.count(REFUSED_REQUESTS, "m", "rate")
    metrics.count(REFUSED_REQUESTS, "m", FULL)
    metrics.count(SIGNATURE_REQUESTS, "m", "1", "", "predict", "OK")

    found = counts(merged([metrics.snapshot()]))

    assert (found["m", REFUSED].requests, found["m", "1"].requests) == (2, 1)
