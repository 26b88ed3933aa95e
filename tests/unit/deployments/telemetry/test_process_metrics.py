"""Reports of the metrics of this process."""

from __future__ import annotations

import threading

from core.telemetry.metric_names import DROPPED_SPANS
from core.telemetry.metric_report import Report, from_bytes
from deployments.telemetry.process_metrics import METRICS, process_name, report


def test_each_report_has_a_higher_number_and_the_same_process() -> None:
    """So that a late report never replaces a newer one."""
    first, second = from_bytes(report()), from_bytes(report())

    assert first.process == second.process == process_name()
    assert second.number > first.number


def dropped(one: Report) -> float:
    return one.snapshot.counters.get(DROPPED_SPANS.name, {}).get(("queue_full",), 0)


def test_a_report_has_the_present_values() -> None:
    """Of the one registry that all modules count into."""
    before = from_bytes(report())
    METRICS.count(DROPPED_SPANS, "queue_full")

    assert dropped(from_bytes(report())) == dropped(before) + 1


def test_a_later_report_never_has_smaller_values() -> None:
    """Although several threads report and count at the same time."""
    reports: list[Report] = []

    def work() -> None:
        for _ in range(50):
            METRICS.count(DROPPED_SPANS, "queue_full")
            reports.append(from_bytes(report()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    values = [dropped(one) for one in sorted(reports, key=lambda one: one.number)]
    assert values == sorted(values)
    assert len({one.number for one in reports}) == 200
