"""A hundred random changes of the configuration under load: no request fails, and the last one counts."""

from __future__ import annotations

import random
from pathlib import Path

import grpc
import pytest

from core.protos import serving_pb2
from tests.integration.conftest import LiveServer
from tests.integration.test_grpc import MODELS, call, reload_request
from tests.support.clients import ClosedLoop, wait_until

RELOADS = 100
POLICIES = ("latest", "all", "specific")


def changed(server: LiveServer, base_path: Path, choice: random.Random) -> serving_pb2.ReloadConfigRequest:
    """List the models of the file, and one whose policy, labels and very presence are drawn by lot."""
    request = reload_request(server)
    if choice.random() < 0.1:
        return request
    model = request.config.model_config_list.config.add(
        name="drawn", base_path=str(base_path), model_platform="tensorflow"
    )
    policy = choice.choice(POLICIES)
    if policy == "latest":
        model.model_version_policy.latest.num_versions = choice.randint(1, 3)
    elif policy == "all":
        model.model_version_policy.all.SetInParent()
    else:
        model.model_version_policy.specific.versions.append(choice.randint(1, 2))
    for label in ("stable", "canary"):
        if choice.random() < 0.5:
            model.version_labels[label] = choice.randint(1, 3)
    return request


@pytest.mark.timeout(480)
def test_a_hundred_random_reloads_under_load_cost_no_request(server: LiveServer, base_path: Path) -> None:
    """Models that are not concerned notice nothing, and afterwards what was asked for last is served."""
    choice = random.Random(20)
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)
    client = server.client()
    with (
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}, 2) as load,
    ):
        for _ in range(RELOADS):
            call(
                channel,
                f"{MODELS}HandleReloadConfigRequest",
                changed(server, base_path, choice),
                serving_pb2.ReloadConfigResponse,
                timeout=90,
            )
        last = reload_request(server)
        model = last.config.model_config_list.config.add(name="drawn", base_path=str(base_path))
        model.model_platform = "tensorflow"
        model.version_labels["stable"] = 2
        call(channel, f"{MODELS}HandleReloadConfigRequest", last, serving_pb2.ReloadConfigResponse, timeout=90)
        wait_until(lambda: client.available("drawn") == {2}, "the last list is served", 90)
        call(channel, f"{MODELS}HandleReloadConfigRequest", reload_request(server), serving_pb2.ReloadConfigResponse)
        wait_until(lambda: not client.available("drawn"), "the model is unloaded", 60)

    assert load.count > 0
    assert load.failures == []
    client.close()
