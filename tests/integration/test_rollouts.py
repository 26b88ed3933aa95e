"""Rollouts on a real server: an equal canary is promoted, a bad one is rolled back, restarts change nothing of either."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from core.admin.delivery_messages import RolloutAnswer, RolloutRequest, read_rollout_answer, rollout_request
from deployments.versions.serve_host import ROUTER_APP
from tests.support.clients import ClosedLoop, RestClient, free_port, wait_until
from tests.support.processes import replica_pids
from tests.support.python_models import ECHO, with_predict, write_model

SCRIPT = Path(sys.executable).with_name("ray_model_server")
ENVIRONMENT = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
FAILING = with_predict(
    "self.runs = getattr(self, 'runs', 0) + 1",
    "if self.runs % 3 == 0: raise RuntimeError('not today')",
    'return {"y": inputs["x"]}',
)
ROW = {"instances": [[1.0, 2.0]]}
ANSWER = {"predictions": [[1.0, 2.0]]}


OTHER = with_predict('return {"y": inputs["x"] * 1.5}')
ERRORS = {"server_errors": {"max_ratio": 1.2}}
DIFFERENCES = {"tolerance": {"output": "y", "rtol": 1e-3, "atol": 1e-5, "max_rate": 0.01}}


def plan(*steps: dict[str, Any], metrics: Sequence[dict[str, Any]] = (ERRORS,)) -> dict[str, Any]:
    """Return the section of a plan that needs seconds, not hours."""
    analysis = {"interval": "1s", "initial_delay": "0s", "min_requests": 30, "metrics": list(metrics)}
    return {"steps": list(steps), "analysis": analysis, "rollback_window": "1h", "labels": {"stable": "auto"}}


HALF = {"weight": 50, "bake": "3s"}
PLANS = {
    "good": plan(HALF),
    "bad": plan(HALF),
    "other": plan({"mirror": 100, "bake": "3s"}, metrics=(ERRORS, DIFFERENCES)),
    "slow": plan(HALF, {"pause": {}}),
}


@dataclass
class RolloutServer:
    """A server that a test may stop and start again."""

    folder: Path
    rest_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    pid: int = 0

    def __post_init__(self) -> None:
        models = {
            name: {"base_path": str(self.folder / name), "platform": "python", "num_cpus": 0.1, "canary": one}
            for name, one in PLANS.items()
        }
        (self.folder / "settings.yaml").write_text(yaml.safe_dump({"models": models}))
        for name in PLANS:
            write_model(self.folder / name / "1")

    @contextmanager
    def running(self) -> Iterator[RestClient]:
        """Run it until the block ends; all models answer."""
        flags = (
            f"--rest_api_port={self.rest_port}", f"--port={self.grpc_port}", "--host=127.0.0.1",
            f"--model_settings_file={self.folder / 'settings.yaml'}", f"--state_dir={self.folder / 'states'}",
            "--allow_python_servables", "--router_replicas=1", "--file_system_poll_wait_seconds=1",
        )  # fmt: skip
        with (self.folder / "server.log").open("a") as log:
            process = subprocess.Popen([SCRIPT, *flags], env=ENVIRONMENT, stdout=log, stderr=log)
            self.pid = process.pid
            client = RestClient(self.rest_port)
            try:
                wait_until(lambda: self._is_ready(client, process), "the server is ready", 180)
                yield client
            finally:
                client.close()
                process.send_signal(signal.SIGTERM)
                process.wait(90)

    def _is_ready(self, client: RestClient, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return all(client.available(name) for name in PLANS)
        except OSError:
            return False

    def add_version(self, model: str, version: int, text: str = ECHO) -> None:
        """Bring a version under its final name only when it is whole."""
        write_model(self.folder / f"{model}.new", text).rename(self.folder / model / str(version))

    def ordered(self, **order: Any) -> RolloutAnswer:
        """Give an order over the Admin service."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            call = channel.unary_unary("/ray_model_server.Admin/ChangeRollout")
            return read_rollout_answer(call(rollout_request(RolloutRequest(**order)), timeout=60))

    def under_load(self, models: Sequence[str]) -> tuple[ExitStack, dict[str, ClosedLoop]]:
        """Let clients call models until the stack is closed."""
        stack, path = ExitStack(), "/v1/models/{}:predict"
        loops = {one: stack.enter_context(ClosedLoop(self.rest_port, path.format(one), ROW, 2)) for one in models}
        return stack, loops


def delivery(client: RestClient, model: str) -> dict[str, Any]:
    """Return what the status document says of a model's rollout."""
    models = client.get("/status.json").json["models"]
    found = next(one["delivery"] for one in models if one["name"] == model)
    return dict(found or {})


def answering(client: RestClient, model: str) -> set[str]:
    """Return the versions that answer a few requests without a version."""
    replies = [client.post(f"/v1/models/{model}:predict", ROW) for _ in range(12)]
    return {one.headers["x-model-version"] for one in replies}


@pytest.mark.timeout(400)
def test_versions_earn_their_traffic_and_restarts_change_nothing(tmp_path: Path) -> None:
    """The equal one is promoted, the failing one rejected, a paused one stays paused, whoever is killed meanwhile."""
    server = RolloutServer(tmp_path)
    with server.running() as client:
        wait_until(lambda: all(delivery(client, one)["stable"] == "1" for one in PLANS), "version 1 is stable")
        stack, loops = server.under_load(list(PLANS))
        with stack:
            server.add_version("good", 2)
            server.add_version("bad", 2, FAILING)
            server.add_version("other", 2, OTHER)
            server.add_version("slow", 2)
            wait_until(lambda: delivery(client, "slow")["phase"] == "paused", "the plan pauses", 90)
            (watcher,) = replica_pids(ROUTER_APP, "Watcher", server.pid)
            os.kill(watcher, signal.SIGKILL)
            wait_until(lambda: delivery(client, "good")["stable"] == "2", "the equal one is promoted", 90)
            wait_until(lambda: delivery(client, "bad")["rejected"], "the failing one is rolled back", 90)
            wait_until(lambda: client.available("bad") == {1}, "it is unloaded", 60)
            wait_until(lambda: delivery(client, "other")["rejected"], "other outputs are noticed in copies", 90)
        assert loops["good"].failures == loops["slow"].failures == loops["other"].failures == []
        assert ANSWER in loops["good"].answers
        assert all(one == ANSWER for one in loops["other"].answers)
        assert "tolerance_y" in delivery(client, "other")["rejected"][0]["reason"]
        assert "server_errors" in delivery(client, "bad")["rejected"][0]["reason"]
        assert delivery(client, "slow")["phase"] == "paused"
        assert answering(client, "slow") == {"1", "2"}
        assert client.available("good") == {1, 2}  # the way back is open
    with server.running() as client:
        wait_until(lambda: client.available("slow") == {1, 2}, "both versions are back")
        assert (answering(client, "good"), answering(client, "bad")) == ({"2"}, {"1"})
        assert delivery(client, "slow")["phase"] == "paused"

        answer = server.ordered(model="slow", verb="promote")

        assert "promoted" in answer.text
        wait_until(lambda: answering(client, "slow") == {"2"}, "the order is carried out", 30)
        assert client.post("/v1/models/slow/labels/stable:predict", ROW).headers["x-model-version"] == "2"
