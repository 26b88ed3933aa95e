"""Random changes of the configuration under load: no request fails, and the last one counts."""

from __future__ import annotations

import random
import time
from pathlib import Path

import grpc
import pytest

from core.protos import serving_pb2
from tests.integration.conftest import LiveServer
from tests.integration.test_grpc import MODELS, call, reload_request
from tests.support.clients import ClosedLoop, wait_until
from tests.support.soak import times

RELOADS = times(12, 100)
FIRST_DEADLINE_S = 90.0
DEADLINE_IN_SLOWEST = 10.0
"""A reload may take so many times as long as the slowest before it: machines differ, one machine does less so."""
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


class Reloads:
    """Sends reloads, each with a deadline that grows with what the ones before it took."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self.deadline_s = FIRST_DEADLINE_S

    def send(self, request: serving_pb2.ReloadConfigRequest) -> None:
        """Send one; fails when it is not answered with OK in time."""
        began_s = time.monotonic()
        method = f"{MODELS}HandleReloadConfigRequest"
        call(self._channel, method, request, serving_pb2.ReloadConfigResponse, timeout=self.deadline_s)
        self.deadline_s = max(self.deadline_s, DEADLINE_IN_SLOWEST * (time.monotonic() - began_s))


@pytest.mark.soak
@pytest.mark.timeout(0)  # each wait has a deadline of its own
def test_random_reloads_under_load_cost_no_request(server: LiveServer, base_path: Path) -> None:
    """Models that are not concerned notice nothing, and afterwards what was asked for last is served."""
    choice = random.Random(20)
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)
    client = server.client()
    with (
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
        ClosedLoop(server.rest_port, "/v1/models/half_plus_two:predict", {"instances": [2.0]}, 2) as load,
    ):
        reloads = Reloads(channel)
        for _ in range(RELOADS):
            reloads.send(changed(server, base_path, choice))
        last = reload_request(server)
        model = last.config.model_config_list.config.add(name="drawn", base_path=str(base_path))
        model.model_platform = "tensorflow"
        model.version_labels["stable"] = 2
        reloads.send(last)
        wait_until(lambda: client.available("drawn") == {2}, "the last list is served", reloads.deadline_s)
        reloads.send(reload_request(server))
        wait_until(lambda: not client.available("drawn"), "the model is unloaded", reloads.deadline_s)

    assert load.count > 0
    assert load.failures == []
    client.close()
