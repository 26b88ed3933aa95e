"""Changes that are sent to Ray's own metrics."""

from __future__ import annotations

import threading

import pytest
from ray.util import metrics as ray_util_metrics

from core.telemetry.metric_changes import Change
from core.telemetry.metric_names import REQUEST_COUNT
from core.telemetry.metrics import MetricKind, Metrics
from deployments.telemetry import ray_metrics
from deployments.telemetry.ray_metrics import RayCells, RayMetrics


def test_changes_are_sent_once() -> None:
    """The second time there is nothing new."""
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, "m", "OK")
    told: list[Change] = []
    bridge = RayMetrics(metrics, told.append)

    bridge.send_changes()
    bridge.send_changes()

    assert [one.value for one in told] == [1]


def test_telling_goes_on_after_a_failure() -> None:
    """In a thread of its own, until it is stopped."""
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, "m", "OK")
    told: list[Change] = []
    done = threading.Event()

    def tell(change: Change) -> None:
        told.append(change)
        if len(told) == 1:
            raise RuntimeError("Ray is not there yet")
        done.set()

    bridge = RayMetrics(metrics, tell, every_s=0.005)
    bridge.start()
    assert done.wait(60)
    bridge.stop()

    assert told[0] == told[1]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What Ray's metric objects were asked to record."""
    seen: list[tuple[object, ...]] = []

    class Recording:
        def __init__(self, name: str, tag_keys: tuple[str, ...]) -> None:
            seen.append(("made", type(self).__name__, name, tag_keys))

        def inc(self, value: float, tags: dict[str, str]) -> None:
            seen.append(("inc", value, tags))

        def set(self, value: float, tags: dict[str, str]) -> None:
            seen.append(("set", value, tags))

    for kind in ("Counter", "Gauge"):
        assert hasattr(ray_util_metrics, kind)
        monkeypatch.setattr(ray_metrics, kind, type(kind, (Recording,), {}))
    return seen


def test_ray_gets_counters_and_gauges(recorded) -> None:
    """Each is made once."""
    numbers = RayCells()
    counted = Change("model_server_request_count", MetricKind.COUNTER, {"model_name": "m", "status": "OK"}, 2)
    gauge = Change("model_server_config_problems", MetricKind.GAUGE, {}, 0)

    for change in (counted, counted, gauge, gauge):
        numbers.send(change)

    assert recorded == [
        ("made", "Counter", "model_server_request_count", ("model_name", "status")),
        ("inc", 2, {"model_name": "m", "status": "OK"}),
        ("inc", 2, {"model_name": "m", "status": "OK"}),
        ("made", "Gauge", "model_server_config_problems", ()),
        ("set", 0, {}),
        ("set", 0, {}),
    ]
