"""What `Monitor` tells of a router's requests."""

from __future__ import annotations

from core.profiling.watched_traffic import answered_requests, watched_text
from core.telemetry.metric_names import REQUEST_COUNT, REQUEST_LATENCY
from core.telemetry.metrics import Metrics


def asked(metrics: Metrics, name: str, times: int, micros: float, status: str = "OK") -> None:
    for _ in range(times):
        metrics.count(REQUEST_COUNT, name, status)
        if status == "OK":
            metrics.observe(REQUEST_LATENCY, name, "Predict", "REST", value=micros)


def test_models_are_shown_by_rate_with_their_mean_latency() -> None:
    """Of the requests in between; what failed has no latency."""
    metrics = Metrics()
    asked(metrics, "a", 5, 9_000_000)
    before = metrics.snapshot()
    asked(metrics, "a", 4, 1500)
    asked(metrics, "b", 6, 500)
    asked(metrics, "b", 4, 0, "INTERNAL")
    asked(metrics, "c", 1, 0, "NOT_FOUND")

    text = watched_text(before, metrics.snapshot(), 2.0, "12:00")

    assert text.splitlines() == [
        "Time: 12:00",
        "b: 5.0 requests/s, 0.500 ms on average",
        "a: 2.0 requests/s, 1.500 ms on average",
        "c: 0.5 requests/s",
    ]


def test_a_router_without_requests_says_so() -> None:
    """Instead of an empty text."""
    metrics = Metrics()
    asked(metrics, "a", 5, 100)

    text = watched_text(metrics.snapshot(), metrics.snapshot(), 2.0)

    assert text == "No request was answered by this router.\n"


def test_requests_of_every_outcome_are_counted() -> None:
    """By the model that they asked for."""
    metrics = Metrics()
    asked(metrics, "a", 2, 100)
    asked(metrics, "a", 1, 0, "INTERNAL")

    assert answered_requests(metrics.snapshot()) == {"a": 3.0}


def test_a_name_cannot_be_a_line_or_a_command_of_a_terminal() -> None:
    """Clients choose the names of models that are not there."""
    metrics = Metrics()
    before = metrics.snapshot()
    asked(metrics, "a\nb: 9 requests/s\x1b[2J\u202eü", 1, 0, "NOT_FOUND")

    text = watched_text(before, metrics.snapshot(), 1.0)

    assert text == "a\\nb: 9 requests/s\\x1b[2J\\u202eü: 1.0 requests/s\n"
