"""Numbers on their way between processes, also of other versions of this program."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidArgument
from core.telemetry.metric_names import CONFIG_PROBLEMS, REQUEST_COUNT, WARMUP_SECONDS
from core.telemetry.metric_report import Report, from_bytes, to_bytes
from core.telemetry.metrics import Exemplar, Metrics, MetricSnapshot

COUNTS, GAUGES, OBSERVED = REQUEST_COUNT.name, CONFIG_PROBLEMS.name, WARMUP_SECONDS.name
BUCKETS = len(WARMUP_SECONDS.buckets) + 1
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def read(**parts: object) -> MetricSnapshot:
    """Read a report with these parts."""
    return from_bytes(json.dumps({"process": "p", "number": 1, **parts})).snapshot


def test_a_report_arrives_as_it_was_sent() -> None:
    """Counters, gauges and histograms, with their labels."""
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, "m", "OK", by=3)
    metrics.count(REQUEST_COUNT, "größe\n", "NOT_FOUND")
    metrics.set(CONFIG_PROBLEMS, to=2)
    metrics.observe(WARMUP_SECONDS, "m", value=0.125)
    metrics.exemplify(WARMUP_SECONDS, "m", by=Exemplar(TRACE, 0.125, 1.5))
    metrics.exemplify(REQUEST_COUNT, "m", "OK", by=Exemplar(TRACE, 1, 2.5))
    report = Report("p", 7, metrics.snapshot())

    assert from_bytes(to_bytes(report)) == report


@pytest.mark.parametrize("raw", [
    b"", b"no json", b"[]", b"7", b"{}", b'{"process": 1, "number": 1}', b'{"process": "p"}', b'{"process": "p", "number": "1"}',
])  # fmt: skip
def test_what_is_no_report_is_refused(raw) -> None:
    """Nobody else's bytes are counted."""
    with pytest.raises(InvalidArgument, match="Not a metrics report"):
        from_bytes(raw)


@pytest.mark.parametrize("parts", [
    {"counters": {"unknown": [[["m", "OK"], 1]]}},
    {"gauges": {COUNTS: [[["m", "OK"], 1]]}},
    {"counters": {COUNTS: {}}},
    {"counters": []},
], ids=["unknown", "another kind", "no list", "no object"])  # fmt: skip
def test_metrics_that_are_not_declared_so_here_are_left_out(parts) -> None:
    """A process of another version may count other things."""
    assert read(**parts) == MetricSnapshot()


@pytest.mark.parametrize("cell", [
    [["m"], 1], [["m", "OK", "x"], 1], [["m", 1], 1], ["m", 1], [["m", "OK"], "1"], [["m", "OK"], None], [["m", "OK"]], 1,
])  # fmt: skip
def test_cells_that_do_not_fit_are_left_out(cell) -> None:
    """Their neighbours count."""
    assert read(counters={COUNTS: [cell, [["m", "OK"], 5]]}) == MetricSnapshot({COUNTS: {("m", "OK"): 5}})


@pytest.mark.parametrize("observed", [
    [[1] * (BUCKETS - 1), 1.0], [[1] * (BUCKETS + 1), 1.0], [[0.5] * BUCKETS, 1.0], [[1] * BUCKETS, None], [[1] * BUCKETS], 5,
], ids=["fewer", "more", "broken numbers", "no sum", "no pair", "no list"])  # fmt: skip
def test_histograms_with_other_buckets_are_left_out(observed) -> None:
    """What cannot be added is not."""
    assert read(distributions={OBSERVED: [[["m"], observed]]}) == MetricSnapshot({}, {}, {OBSERVED: {}})


@pytest.mark.parametrize("listed", [
    None, {}, [5], [[0]], [[-1, [TRACE, 1, 1]]], [[BUCKETS, [TRACE, 1, 1]]], [["0", [TRACE, 1, 1]]], [[0, [TRACE, 1]]],
    [[0, ["x", 1, 1]]], [[0, [TRACE + "\n", 1, 1]]], [[0, [7, 1, 1]]], [[0, [TRACE, "1", 1]]], [[0, [TRACE, 1, None]]],
])  # fmt: skip
def test_exemplars_that_no_page_could_show_are_left_out(listed) -> None:
    """Others of the same metric are shown."""
    found = read(exemplars={OBSERVED: [[["m"], listed], [["n"], [[2, [TRACE, 1, 1]]]]]}).exemplars[OBSERVED]

    assert not found.get(("m",))
    assert found["n",] == {2: Exemplar(TRACE, 1, 1)}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([COUNTS, GAUGES, OBSERVED]), inner),
    max_leaves=8,
)


@given(json_values, json_values, json_values)
def test_nothing_that_arrives_breaks_the_reader(counters, gauges, distributions) -> None:
    """The one place that adds up must not fail because of one process."""
    read(counters=counters, gauges=gauges, distributions=distributions)
