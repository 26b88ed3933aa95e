"""Counting in one process, and adding up over several."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.telemetry.metrics import (
    Distribution,
    Exemplar,
    Metric,
    MetricKind,
    Metrics,
    MetricSnapshot,
    exponential,
    merged,
)

REQUESTS = Metric("requests", MetricKind.COUNTER, ("model",))
SIZE = Metric("size", MetricKind.GAUGE, ("model",))
SECONDS = Metric("seconds", MetricKind.HISTOGRAM, ("model",), (1.0, 2.0, 4.0))


def snapshots() -> st.SearchStrategy[MetricSnapshot]:
    """Return numbers of a process; whole ones, because the order in which others are added up shows in their last digit."""
    whole = st.integers(0, 1000)
    cells = st.dictionaries(st.tuples(st.sampled_from("ab")), whole, max_size=2)
    observed = st.builds(Distribution, st.tuples(whole, whole), whole)
    numbers = st.dictionaries(st.sampled_from(("x", "y")), cells, max_size=2)
    distributions = st.dictionaries(
        st.just("z"), st.dictionaries(st.tuples(st.sampled_from("ab")), observed, max_size=2), max_size=1
    )
    return st.builds(MetricSnapshot, numbers, numbers, distributions)


def test_each_combination_of_labels_is_counted_on_its_own() -> None:
    """A cell is a metric with values for its labels."""
    metrics = Metrics()

    metrics.count(REQUESTS, "a")
    metrics.count(REQUESTS, "a", by=2)
    metrics.count(REQUESTS, "b")

    assert metrics.snapshot() == MetricSnapshot({"requests": {("a",): 3, ("b",): 1}})


def test_a_kept_cell_is_the_one_that_is_named() -> None:
    """Who counts often asks for its cell once."""
    metrics = Metrics()
    counter, gauge, histogram = (
        metrics.counter(REQUESTS, "a"),
        metrics.gauge(SIZE, "a"),
        metrics.histogram(SECONDS, "a"),
    )

    metrics.count(REQUESTS, "a")
    metrics.set(SIZE, "a", to=5)
    metrics.observe(SECONDS, "a", value=1.5)
    counter.add(2)
    gauge.set(7)
    histogram.observe(9.0)

    assert metrics.snapshot() == MetricSnapshot(
        {"requests": {("a",): 3}}, {"size": {("a",): 7}}, {"seconds": {("a",): Distribution((0, 1, 0, 1), 10.5)}}
    )


@pytest.mark.parametrize(("value", "bucket"), [(0.5, 0), (1.0, 1), (1.99, 1), (2.0, 2), (4.0, 3), (100.0, 3)])
def test_an_observation_that_equals_a_limit_counts_above_it(value, bucket) -> None:
    """TensorFlow Serving compares strictly, unlike Prometheus."""
    metrics = Metrics()

    metrics.observe(SECONDS, "a", value=value)

    [counted] = metrics.snapshot().distributions["seconds"].values()
    assert counted == Distribution(tuple(int(place == bucket) for place in range(4)), value)


def test_a_gauge_can_be_forgotten() -> None:
    """A gauge whose subject is gone leaves the page; one that never was does no harm."""
    metrics = Metrics()
    metrics.set(SIZE, "a", to=1)
    metrics.set(SIZE, "b", to=1)

    metrics.forget(SIZE, "a")
    metrics.forget(SIZE, "c")
    metrics.forget(Metric("other", MetricKind.GAUGE))

    assert metrics.snapshot().gauges == {"size": {("b",): 1}}


def test_gauges_may_be_set_when_somebody_asks() -> None:
    """What is known anyway costs nothing until it is wanted."""
    metrics = Metrics()
    sizes = [1, 2]
    metrics.before_snapshot(lambda: metrics.set(SIZE, "a", to=sizes.pop()))

    assert [metrics.snapshot().gauges["size"][("a",)] for _ in range(2)] == [2, 1]


@pytest.mark.parametrize("count", [
    lambda metrics: metrics.count(REQUESTS),
    lambda metrics: metrics.count(REQUESTS, "a", "b"),
    lambda metrics: metrics.count(SIZE, "a"),
    lambda metrics: metrics.set(REQUESTS, "a", to=1),
    lambda metrics: metrics.observe(REQUESTS, "a", value=1),
])  # fmt: skip
def test_a_metric_is_counted_as_it_was_declared(count) -> None:
    """The wrong kind or number of labels is a mistake in the code, found by whoever runs it first."""
    metrics = Metrics()

    with pytest.raises(ValueError, match="with the labels"):
        count(metrics)
    assert metrics.snapshot() == MetricSnapshot()


def test_labels_that_are_no_text_are_made_one_and_counted_together() -> None:
    """Bytes of a client that are no UTF-8 cannot make the page unreadable, and are no new cell each time."""
    metrics = Metrics()

    for _ in range(3):
        metrics.count(REQUESTS, "a\udcff")

    assert metrics.snapshot().counters == {"requests": {("a?",): 3}}


def test_nothing_is_lost_when_many_threads_count() -> None:
    """Model servers count in several threads."""
    metrics = Metrics()
    counter = metrics.counter(REQUESTS, "a")

    def work() -> None:
        for _ in range(2000):
            counter.add()
            metrics.observe(SECONDS, "a", value=1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert metrics.snapshot() == MetricSnapshot(
        {"requests": {("a",): 8000}}, {}, {"seconds": {("a",): Distribution((0, 8000, 0, 0), 8000.0)}}
    )


def test_a_snapshot_does_not_change() -> None:
    """What was read stays as it was."""
    metrics = Metrics()
    metrics.count(REQUESTS, "a")
    metrics.observe(SECONDS, "a", value=1.0)
    before = metrics.snapshot()

    metrics.count(REQUESTS, "a")
    metrics.observe(SECONDS, "a", value=1.0)

    assert before == MetricSnapshot(
        {"requests": {("a",): 1}}, {}, {"seconds": {("a",): Distribution((0, 1, 0, 0), 1.0)}}
    )


def test_only_gauges_end_with_their_process() -> None:
    """What was counted was counted."""
    observed = {"z": {("a",): Distribution((1,), 2.0)}}

    assert MetricSnapshot({"x": {("a",): 1}}, {"y": {("a",): 1}}, observed).lasting() == MetricSnapshot(
        {"x": {("a",): 1}}, {}, observed
    )


def test_numbers_of_processes_add_up() -> None:
    """Cells with the same labels are summed, others stand side by side."""
    first = MetricSnapshot({"x": {("a",): 1, ("b",): 2}}, {"g": {(): 1}}, {"z": {(): Distribution((1, 0), 5.0)}})
    second = MetricSnapshot({"x": {("a",): 10}, "y": {(): 1}}, {"g": {(): 2}}, {"z": {(): Distribution((1, 2), 1.0)}})

    assert merged((first, second)) == MetricSnapshot(
        {"x": {("a",): 11, ("b",): 2}, "y": {(): 1}}, {"g": {(): 3}}, {"z": {(): Distribution((2, 2), 6.0)}}
    )


@given(snapshots(), snapshots(), snapshots())
def test_the_order_of_processes_does_not_matter(one, two, three) -> None:
    """Adding up is associative and commutative, and nothing adds nothing."""
    assert merged((one, two, three)) == merged((three, merged((two, one))))
    assert merged((one, MetricSnapshot())) == merged((one,))


def test_exponential_limits_begin_at_the_start_and_grow_by_the_factor() -> None:
    """Three limits make four buckets."""
    assert exponential(10, 1.5, 3) == (10, 15, 22.5)


def test_the_newest_exemplar_of_each_bucket_stays() -> None:
    """Memory is bounded by the buckets; a counter has one."""
    metrics = Metrics()
    for number, value in enumerate((1.5, 5.0, 1.75)):
        metrics.exemplify(SECONDS, "a", by=Exemplar(f"t{number}", value, number))
        metrics.exemplify(REQUESTS, "a", by=Exemplar(f"t{number}", 1, number))

    assert metrics.snapshot().exemplars == {
        "seconds": {("a",): {1: Exemplar("t2", 1.75, 2), 3: Exemplar("t1", 5.0, 1)}},
        "requests": {("a",): {0: Exemplar("t2", 1, 2)}},
    }


def test_of_several_processes_exemplars_the_newest_one_is_shown() -> None:
    """Whatever their order; one that has ended shows none."""
    old, new = (
        MetricSnapshot(exemplars={"x": {("a",): {1: Exemplar(name, 1.0, at_s)}}}) for name, at_s in (("o", 1), ("n", 2))
    )
    other = MetricSnapshot(exemplars={"x": {("a",): {0: Exemplar("p", 0.5, 0)}}})

    assert merged((old, new, other)) == merged((other, new, old))
    assert merged((old, new, other)).exemplars == {"x": {("a",): {1: Exemplar("n", 1.0, 2), 0: Exemplar("p", 0.5, 0)}}}
    assert old.lasting() == MetricSnapshot()
