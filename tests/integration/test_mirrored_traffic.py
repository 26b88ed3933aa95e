"""Copies of requests on a real server: compared, counted, and in nobody's way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import yaml

from core.telemetry.metric_names import (
    MIRROR_FLIPS,
    MIRROR_RELATIVE_L2,
    MIRROR_REQUESTS,
    REQUEST_COUNT,
    SIGNATURE_REQUESTS,
)
from core.telemetry.metrics import Metric
from core.versions.servable import DEPLOYMENT, ServableId, app_name
from tests.integration.conftest import LiveServer
from tests.integration.test_grpc import predict, predict_request
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.processes import replica_pids
from tests.support.prometheus_page import Page, scrape

MODEL = "mirrored"
SHARES = {7: 100}
"""Version 7 answers; 8 is the same model, and 9 another one."""

Divide = Callable[..., None]


@pytest.fixture
def divide(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[Divide]:
    """Three versions of a model, and what sets how its requests are copied."""
    file = server.folder / "settings.yaml"
    before = file.read_text(encoding="utf-8")
    for source, version in ((1, 7), (1, 8), (2, 9)):
        server.copy_version("half_plus_two_versions", source, base_path, as_version=version)

    def change(**mirror: object) -> None:
        settings = yaml.safe_load(before)
        entry = {"base_path": str(base_path), "version_policy": "all", "traffic": SHARES, "mirror": mirror}
        settings["models"][MODEL] = entry
        aside = file.with_suffix(".new")
        aside.write_text(yaml.safe_dump(settings), encoding="utf-8")
        aside.rename(file)

    yield change
    file.write_text(before, encoding="utf-8")
    wait_until(lambda: "AVAILABLE" not in client.states(MODEL).values(), "the model is unloaded")


def copies(page: Page, version: int, result: str) -> float:
    return page.value(MIRROR_REQUESTS, model_name=MODEL, version=str(version), result=result)


def total(page: Page, metric: Metric, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    return sum(page.value(metric, **one) for one in page.labelled(metric, **labels))


def ask(client: RestClient, channel: grpc.Channel) -> None:
    """Send the same request in both protocols, and in version 2."""
    assert client.predict(MODEL, [2.0, 4.0]) == [2.0, 3.0]
    predict(channel, predict_request(MODEL, x=np.array([2.0], np.float32)))
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [2.0]}
    assert client.post(f"/v2/models/{MODEL}/infer", {"inputs": [tensor]}).status == 200


@pytest.mark.timeout(300)
def test_copies_are_compared_and_counted_as_no_request(server: LiveServer, client: RestClient, divide: Divide) -> None:
    """An equal version is identical in every protocol, another one is not; only callers' requests are counted."""
    divide(version="8", percent=100)
    wait_until(lambda: client.available(MODEL) == {7, 8, 9}, "all versions are available")
    wait_until(lambda: client.predict(MODEL, [2.0]) == [2.0], "version 7 is stable")
    before = scrape(client)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
    asked = 0

    def enough(version: int, result: str) -> bool:
        nonlocal asked
        ask(client, channel)
        asked += 3
        return copies(scrape(client), version, result) >= 12

    wait_until(lambda: enough(8, "identical"), "copies to an equal version are identical")
    page = scrape(client)
    counted = total(page, REQUEST_COUNT, model_name=MODEL) - total(before, REQUEST_COUNT, model_name=MODEL)
    assert counted == asked
    assert {result: copies(page, 8, result) for result in ("within", "outside", "structural", "failed")} == {
        "within": 0, "outside": 0, "structural": 0, "failed": 0
    }  # fmt: skip
    assert total(page, SIGNATURE_REQUESTS, model_name=MODEL, version="8", signature="serving_default") == 0

    divide(version="9", percent=100)
    wait_until(lambda: enough(9, "outside"), "copies to another version are not")
    page = scrape(client)
    assert copies(page, 9, "identical") == 0
    assert page.count(MIRROR_RELATIVE_L2, model_name=MODEL, version="9", output="y") >= 4
    assert page.value(MIRROR_FLIPS, model_name=MODEL, version="9", output="y") == 0

    divide(version="7", percent=100)
    wait_until(lambda: enough(7, "identical"), "stable is equal to itself")
    channel.close()


@pytest.mark.timeout(300)
def test_a_mirror_that_dies_costs_no_request(server: LiveServer, client: RestClient, divide: Divide) -> None:
    """While copies are on their way to a replica that is killed, every caller gets stable's answer."""
    divide(version="9", percent=100)
    wait_until(lambda: client.available(MODEL) == {7, 8, 9}, "all versions are available")
    wait_until(lambda: client.predict(MODEL, [2.0]) == [2.0], "version 7 is stable")
    with ClosedLoop(server.rest_port, f"/v1/models/{MODEL}:predict", {"instances": [2.0]}, 2) as load:
        wait_until(lambda: copies(scrape(client), 9, "outside") >= 3, "copies are compared under load")
        for pid in replica_pids(app_name(ServableId(MODEL, 9)), DEPLOYMENT):
            os.kill(pid, signal.SIGKILL)
        seen = load.count
        wait_until(lambda: load.count > seen + 200, "requests go on")
    assert load.failures == []
    assert {answer["predictions"][0] for answer in load.answers} == {2.0}
