"""Traffic that is divided between two versions of a running server, by the settings file alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import yaml

from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from core.telemetry.metric_names import REQUEST_COUNT, SPLIT_REQUESTS
from tests.integration.conftest import LiveServer
from tests.support.clients import RestClient, wait_until
from tests.support.prometheus_page import scrape

MODEL = "divided"
USERS = [f"user-{number}" for number in range(40)]
ROW = '{"instances": [2.0]}'
V2_ROW = '{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [2.0]}]}'
ANSWER_OF = {1: 3.0, 2: 4.0}
"""What each version makes of the row."""


class Divided:
    """A model with two versions whose shares a test sets in the file."""

    def __init__(self, server: LiveServer, client: RestClient, folder: Path) -> None:
        self._file = server.folder / "settings.yaml"
        self._before = self._file.read_text(encoding="utf-8")
        self._folder = folder
        self._client = client
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")

    def share(self, canary: int) -> None:
        """Give version 2 so many percent, sticky by user."""
        settings = yaml.safe_load(self._before)
        settings["models"][MODEL] = {
            "base_path": str(self._folder),
            "version_policy": "all",
            "traffic": {1: 100 - canary, 2: canary},
            "stickiness": {"header": "X-User-Id"},
        }
        self._write(yaml.safe_dump(settings))

    def end(self) -> None:
        """Leave the file as it was."""
        self._channel.close()
        self._write(self._before)

    def _write(self, text: str) -> None:
        aside = self._file.with_suffix(".new")
        aside.write_text(text, encoding="utf-8")
        aside.rename(self._file)

    def over_rest(self, user: str, target: str = f"/v1/models/{MODEL}:predict", body: str = ROW) -> int:
        """Return the version that answers a user, of which answer and header agree."""
        reply = self._client.send("POST", target, body, {"x-user-id": user} if user else {})
        assert reply.status == 200, reply.body
        answer: Any = reply.json
        value = answer["predictions"][0] if "predictions" in answer else answer["outputs"][0]["data"][0]
        version = int(reply.headers["x-model-version"])
        assert ANSWER_OF[version] == value
        return version

    def over_grpc(self, user: str) -> int:
        """Return the version that answers a user, by its own word."""
        request = serving_pb2.PredictRequest(model_spec={"name": MODEL})
        request.inputs["x"].CopyFrom(to_proto(np.float32([2.0])))
        call = self._channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        metadata = [("x-user-id", user)] if user else []
        answer = serving_pb2.PredictResponse.FromString(
            call(request.SerializeToString(), timeout=60, metadata=metadata)
        )
        return int(answer.model_spec.version.value)

    def canaries(self) -> set[str]:
        """Return the users that version 2 answers."""
        return {user for user in USERS if self.over_rest(user) == 2}


@pytest.fixture
def divided(server: LiveServer, client: RestClient, base_path: Path) -> Iterator[Divided]:
    """The model, of which nobody gets version 2 yet."""
    server.copy_version("half_plus_two", 1, base_path, 1)
    server.copy_version("half_plus_three", 1, base_path, 2)
    model = Divided(server, client, base_path)
    try:
        model.share(0)
        wait_until(lambda: client.available(MODEL) == {1, 2}, "both versions answer", 90)
        wait_until(lambda: model.canaries() == set(), "version 1 answers everybody")
        yield model
    finally:
        model.end()


def test_users_keep_their_version_at_every_door_while_its_share_rises(divided: Divided, client: RestClient) -> None:
    """With REST, version 2 and gRPC; who has no key is divided by chance, and numbers stay exact."""
    divided.share(40)
    wait_until(lambda: divided.canaries() != set(), "some users get version 2")
    first = divided.canaries()
    assert 4 <= len(first) <= 30

    for user in USERS:
        expected = 2 if user in first else 1
        assert divided.over_rest(user, f"/v2/models/{MODEL}/infer", V2_ROW) == expected
        assert divided.over_grpc(user) == expected
    assert {divided.over_rest("") for _ in range(60)} == {1, 2}
    assert {divided.over_grpc("") for _ in range(60)} == {1, 2}
    assert divided.over_rest("", f"/v1/models/{MODEL}/versions/1:predict") == 1

    divided.share(80)
    wait_until(lambda: len(divided.canaries()) > len(first), "more users get version 2")
    assert first < divided.canaries()
    divided.share(0)
    wait_until(lambda: divided.canaries() == set(), "nobody gets version 2")

    page = scrape(client)
    counted = [
        page.value(SPLIT_REQUESTS, model_name=MODEL, version=version, arm=arm, outcome="ok")
        for version, arm in (("1", "stable"), ("2", "canary"))
    ]
    assert min(counted) >= 60
    assert sum(counted) <= page.value(REQUEST_COUNT, model_name=MODEL, status="OK")
