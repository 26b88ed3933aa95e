"""The page that prometheus-client writes of our sums, read back by the library's own parsers."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from core.errors import InvalidArgument
from core.exposition.scrape import read_scrape
from core.telemetry.metric_ledger import plain_sums
from core.telemetry.metric_names import (
    BATCH_INPUT_SIZE,
    FETCHED_BYTES,
    GRAPH_RUNS,
    LAST_INFERENCE,
    METRICS_AGE,
    QUEUE_LENGTH,
    REQUEST_COUNT,
    REQUEST_LATENCY,
)
from core.telemetry.metrics import Exemplar, Metrics
from deployments.exposition.sums_collector import exposition

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OPEN = "application/openmetrics-text;version=1.0.0"
ACCEPTS = (
    "",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    OPEN,
    f"{OPEN};escaping=allow-utf-8",
    f"{OPEN};escaping=values",
)


@pytest.fixture
def metrics() -> Metrics:
    """A little of every kind."""
    counted = Metrics()
    counted.count(REQUEST_COUNT, "m", "OK", by=3)
    counted.count(REQUEST_COUNT, 'odd "name"\\\n', "NOT_FOUND")
    counted.count(FETCHED_BYTES, "m", by=2**53 + 2)
    counted.set(QUEUE_LENGTH, "m", "1", to=4)
    counted.set(LAST_INFERENCE, "m", "1", to=1e9)
    for micros in (5, 12, 2e6, 1e12):
        counted.observe(REQUEST_LATENCY, "m", "predict", "REST", value=micros)
    return counted


def page(metrics: Metrics, accept: str = "", query: str = "", age_s: float = 0.0) -> str:
    """Return the page as text."""
    scrape = read_scrape(f"/metrics{query}", accept, "")
    return exposition(plain_sums(metrics.snapshot()), scrape, age_s).body.decode()


def families(accept: str, text: str) -> Iterable:
    """Read a page with the library's parser of its format; that of OpenMetrics is strict."""
    return list(open_families(text) if "openmetrics" in accept else text_families(text))


@pytest.mark.parametrize("accept", ACCEPTS)
def test_every_format_has_the_same_samples(metrics, accept) -> None:
    """Names, labels and values; no family comes twice, and each has its type."""
    read = families(accept, page(metrics, accept))
    samples = {(one.name, tuple(sorted(one.labels.items()))): one.value for family in read for one in family.samples}

    request = (("API", "predict"), ("entrypoint", "REST"))
    assert samples["tensorflow_serving_request_count_total", (("model_name", "m"), ("status", "OK"))] == 3
    assert (
        samples["tensorflow_serving_request_count_total", (("model_name", 'odd "name"\\\n'), ("status", "NOT_FOUND"))]
        == 1
    )
    assert samples["ray_model_server_queue_length", (("model_name", "m"), ("version", "1"))] == 4
    assert samples["ray_model_server_fetched_bytes_total", (("model_name", "m"),)] == 2**53 + 2
    assert samples["tensorflow_serving_request_latency_count", (*request, ("model_name", "m"))] == 4
    assert samples["tensorflow_serving_request_latency_sum", (*request, ("model_name", "m"))] == 1e12 + 2e6 + 17
    limits = [
        float(dict(labels)["le"]) for name, labels in samples if name == "tensorflow_serving_request_latency_bucket"
    ]
    assert (limits, limits[0], limits[-1]) == (sorted(limits), 10, float("inf"))
    names = [family.name for family in read]
    assert len(set(names)) == len(names)
    assert {family.name: family.type for family in read}["tensorflow_serving_request_count"] == "counter"


def test_only_openmetrics_ends_in_eof_and_names_units(metrics) -> None:
    """As its specification says; the texts have neither."""
    text, opened = page(metrics), page(metrics, OPEN)

    assert opened.endswith("\n# EOF\n")
    assert "# UNIT ray_model_server_fetched_bytes bytes\n" in opened
    assert "# EOF" not in text
    assert "# UNIT" not in text
    assert "# TYPE tensorflow_serving_request_count_total counter\n" in text


def test_an_exemplar_is_in_its_bucket_and_at_its_counter(metrics) -> None:
    """With the trace, the value and the time; the newest one of each bucket, in OpenMetrics only."""
    for trace_id, value, at_s in (("0" * 32, 11, 5.0), (TRACE, 12, 7.25)):
        metrics.exemplify(REQUEST_LATENCY, "m", "predict", "REST", by=Exemplar(trace_id, value, at_s))
    metrics.exemplify(REQUEST_LATENCY, "m", "predict", "REST", by=Exemplar(TRACE, 1e12, 8.0))
    metrics.exemplify(REQUEST_COUNT, "m", "OK", by=Exemplar(TRACE, 1, 9.0))

    opened = families(OPEN, page(metrics, OPEN))
    shown = {(one.name, one.labels.get("le")): one.exemplar for f in opened for one in f.samples if one.exemplar}
    bucket = "tensorflow_serving_request_latency_bucket"
    assert shown.keys() == {(bucket, "18.0"), (bucket, "+Inf"), ("tensorflow_serving_request_count_total", None)}
    assert (shown[bucket, "18.0"].labels, shown[bucket, "18.0"].value) == ({"trace_id": TRACE}, 12)
    assert float(shown[bucket, "18.0"].timestamp) == 7.25
    assert TRACE not in page(metrics)
    assert TRACE not in page(metrics, "text/plain;version=1.0.0")


def test_names_choose_samples(metrics) -> None:
    """Only those, with the head of their family; none for names that there are not."""
    text = page(metrics, OPEN, "?name[]=tensorflow_serving_request_latency_count&name[]=nothing")

    assert [one for one in text.splitlines() if not one.startswith("#")] == [
        'tensorflow_serving_request_latency_count{API="predict",entrypoint="REST",model_name="m"} 4.0'
    ]
    assert page(metrics, OPEN, "?name[]=nothing") == "# EOF\n"


def test_families_without_samples_are_hidden_only_where_the_other_page_hides_them(metrics) -> None:
    """A query for what did not happen yet finds its type; sums that mean nothing are not there."""
    text = page(metrics)

    assert "# TYPE tensorflow_core_graph_runs_total counter\n" in text
    assert "input_batch_size" not in text
    assert "last_inference" not in text
    metrics.count(GRAPH_RUNS)
    metrics.observe(BATCH_INPUT_SIZE, value=3)
    assert "\ntensorflow_core_graph_runs_total 1.0\n" in page(metrics)
    assert "tensorflow_serving_batching_session_input_batch_size_sum 3.0\n" in page(metrics)


def test_age_and_build_are_shown(metrics) -> None:
    """The age of sums that are not of now, and whose page it is."""
    text = page(metrics, age_s=7.5)

    assert f"\n{METRICS_AGE.name} 7.5\n" in text
    assert '\nray_model_server_build_info{python="3.' in text


def test_a_zipped_page_is_the_same_page(metrics) -> None:
    """One that is not zipped says so."""
    sums = plain_sums(metrics.snapshot())
    zipped = exposition(sums, read_scrape("/metrics", OPEN, "gzip"), 0.0)
    plain = exposition(sums, read_scrape("/metrics", OPEN, ""), 0.0)

    assert (zipped.zipped, plain.zipped) == (True, False)
    assert gzip.decompress(zipped.body) == plain.body


def test_sums_that_cannot_be_read_are_an_error() -> None:
    """They come from the same program."""
    with pytest.raises(InvalidArgument):
        exposition(b"no sums", read_scrape("/metrics", "", ""), 0.0)
