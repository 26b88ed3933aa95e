"""The page for Prometheus, checked by eye and by Prometheus' own parser."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from core.telemetry.metric_names import ALL_METRICS, REQUEST_COUNT, REQUEST_LATENCY
from core.telemetry.metric_page import label_name, page, page_name, sample_text
from core.telemetry.metrics import Metric, MetricKind, Metrics, exponential

TOTAL = Metric("/test/path/total", MetricKind.COUNTER, ("name",))
GAUGE = Metric("/test/path/gague", MetricKind.GAUGE, ("x", "y"))
HISTOGRAM = Metric("/test/path/histogram", MetricKind.HISTOGRAM, ("x",), exponential(1, 2, 10))


def written(metrics: Metrics, *declared: Metric) -> str:
    """Return the page with these metrics."""
    return page(declared, metrics.snapshot()).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read a page as Prometheus does; its Python library adds `_total` to the names of counters, which we take off."""
    return {
        (one.name.removesuffix("_total"), tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_case_P1_a_counter() -> None:
    """Type and value, under the name with colons."""
    metrics = Metrics()
    metrics.count(TOTAL, "abc", by=2)

    assert written(metrics, TOTAL) == '# TYPE :test:path:total counter\n:test:path:total{name="abc"} 2\n'


def test_case_P2_a_gauge_with_two_labels() -> None:
    """Labels stand in the order of their declaration."""
    metrics = Metrics()
    metrics.set(GAUGE, "abc", "def", to=5)

    assert written(metrics, GAUGE) == '# TYPE :test:path:gague gauge\n:test:path:gague{x="abc",y="def"} 5\n'


def test_case_P3_a_histogram() -> None:
    """Buckets are cumulated, and a value that equals a limit is above it."""
    metrics = Metrics()
    for value in (2, 20, 200):
        metrics.observe(HISTOGRAM, "y", value=value)

    counts = {1: 0, 2: 0, 4: 1, 8: 1, 16: 1, 32: 2, 64: 2, 128: 2, 256: 3, 512: 3, "+Inf": 3}
    assert written(metrics, HISTOGRAM).splitlines() == [
        "# TYPE :test:path:histogram histogram",
        *(f':test:path:histogram_bucket{{x="y",le="{limit}"}} {count}' for limit, count in counts.items()),
        ':test:path:histogram_sum{x="y"} 222',
        ':test:path:histogram_count{x="y"} 3',
    ]


def test_case_P4_quotes_and_backslashes_are_escaped() -> None:
    """The value is the text that was counted."""
    metrics = Metrics()
    metrics.count(TOTAL, '"abc\\"')

    text = written(metrics, TOTAL)

    assert '{name="\\"abc\\\\\\""}' in text
    assert samples(text) == {(":test:path:total", (("name", '"abc\\"'),)): 1}


@pytest.mark.parametrize(("name", "shown"), [
    pytest.param("my-name+1", "my_name_1", id="case_P5"),
    ("1st", "_1st"),
    ("", ""),
])  # fmt: skip
def test_label_names(name, shown) -> None:
    """Prometheus allows letters, digits and underscores."""
    assert label_name(name) == shown


@pytest.mark.parametrize(("name", "shown"), [
    ("/tensorflow/serving/request_count", ":tensorflow:serving:request_count"),
    (":tensorflow:serving:batching_session:padding_size", ":tensorflow:serving:batching_session:padding_size"),
    ("1/a-b", "_1:a:b"),
])  # fmt: skip
def test_names_of_metrics(name, shown) -> None:
    """A path becomes a name; a name stays as it is."""
    assert page_name(name) == shown


@pytest.mark.parametrize(("value", "shown"), [
    (0, "0"), (2**60, str(2**60)), (222.0, "222"), (0.1, "0.1"), (1e300, "1e+300"), (-1.5, "-1.5"),
    (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"),
])  # fmt: skip
def test_numbers_have_all_their_digits(value, shown) -> None:
    """A sum that stood still because its digits were cut would show no rate."""
    assert sample_text(value) == shown


def test_metrics_without_labels_and_without_numbers() -> None:
    """Every metric shows its type, and one without labels has empty braces."""
    plain = Metric("b", MetricKind.COUNTER)
    observed = Metric("a", MetricKind.HISTOGRAM, (), (1.0,))
    metrics = Metrics()
    metrics.count(plain)
    metrics.observe(observed, value=0.25)

    text = written(metrics, plain, Metric("c", MetricKind.GAUGE), observed)

    assert text.splitlines() == [
        "# TYPE a histogram",
        'a_bucket{le="1"} 1',
        'a_bucket{le="+Inf"} 1',
        "a_sum{} 0.25",
        "a_count{} 1",
        "# TYPE b counter",
        "b{} 1",
        "# TYPE c gauge",
    ]


def test_some_metrics_appear_with_their_first_use() -> None:
    """TensorFlow Serving makes its batch size histograms when they are needed."""
    sizes = Metric("sizes", MetricKind.HISTOGRAM, (), (1.0,), hidden_until_used=True)
    metrics = Metrics()
    assert written(metrics, sizes) == ""

    metrics.observe(sizes, value=1)

    assert written(metrics, sizes).startswith("# TYPE sizes histogram\n")


def test_our_own_metrics_explain_themselves() -> None:
    """TensorFlow Serving's have no help."""
    assert (
        written(Metrics(), Metric("m", MetricKind.GAUGE, help="What it is."))
        == "# HELP m What it is.\n# TYPE m gauge\n"
    )


def test_bucket_limits_of_tensorflow_serving() -> None:
    """Limits have six digits."""
    metrics = Metrics()
    metrics.observe(REQUEST_LATENCY, "m", "Predict", "GRPC", value=1)

    limits = [line.partition('le="')[2].partition('"')[0] for line in written(metrics, REQUEST_LATENCY).splitlines()]

    expected = """10 18 32.4 58.32 104.976 188.957 340.122 612.22 1102 1983.59 3570.47 6426.84 11568.3 20823 37481.3 67466.4
        121440 218591 393464 708235 1.27482e+06 2.29468e+06 4.13043e+06 7.43477e+06 1.33826e+07 2.40887e+07 4.33596e+07
        7.80473e+07 1.40485e+08 2.52873e+08 4.55172e+08 8.19309e+08 1.47476e+09 +Inf"""
    assert limits[1:35] == expected.split()


@given(st.lists(st.tuples(st.text(max_size=8), st.sampled_from(["OK", "NOT_FOUND"])), max_size=6))
def test_prometheus_reads_what_was_counted_whatever_the_labels_say(counted) -> None:
    """No name that a client can send breaks the page or another's numbers."""
    metrics = Metrics()
    for name, status in counted:
        metrics.count(REQUEST_COUNT, name, status)

    text = page(ALL_METRICS, metrics.snapshot()).decode()

    name = ":tensorflow:serving:request_count"
    read = {
        tuple(value for _, value in labels): count for (shown, labels), count in samples(text).items() if shown == name
    }
    assert read == {labels: counted.count(labels) for labels in counted}
