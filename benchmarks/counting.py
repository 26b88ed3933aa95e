"""What counting costs: microseconds that metrics add to a request, `python -m benchmarks.counting`."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable

from core.errors import Code
from core.inference.run_plan import RunPlan
from core.inference.signature import ServedModel
from core.routing.transport import Call, Method
from core.telemetry.metric_names import FORWARDED_REQUESTS
from core.telemetry.metrics import Metrics
from core.telemetry.request_meter import RequestMeter
from deployments.inference.call_meter import VersionMeter

CALLS = 100_000
ROUNDS = 7


def at_the_router() -> Callable[[], None]:

    metrics = Metrics()
    meter = RequestMeter(metrics, lambda _: True)
    direct = {"m": metrics.counter(FORWARDED_REQUESTS, "m", "direct")}

    def request() -> None:
        began_s = time.perf_counter()
        direct["m"].add()
        meter.succeeded("m", "REST", "predict", time.perf_counter() - began_s)

    return request


def at_the_model_server() -> Callable[[], None]:

    version = VersionMeter(ServedModel("m", 1, {}), Metrics())
    asked = Call(Method.REST_PREDICT, b"")
    plan = RunPlan({}, (), lambda _: b"", "serving_default")

    def call() -> None:
        meter = version.begin(asked)
        meter.planned(plan)
        meter.ran()
        meter.ended(Code.OK)

    return call


def micros(work: Callable[[], None]) -> float:
    return min(timeit.repeat(work, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


if __name__ == "__main__":
    print(f"router {micros(at_the_router()):.2f} us, model server {micros(at_the_model_server()):.2f} us a request")
