"""A real Prometheus scrapes both pages of the server; the dashboard's and the rules' questions have answers."""

from __future__ import annotations

import math
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.conftest import LiveServer
from tests.support.clients import ClosedLoop, RestClient, wait_until
from tests.support.hook_files import write_hooks
from tests.support.monitoring_files import panel_queries
from tests.support.prometheus_server import ALERTS, ALERTS_TEST, EXPOSITION_JOB, Prometheus, prometheus
from tests.support.tools import program

pytestmark = pytest.mark.tools

BODIES = {
    "half_plus_two:predict": {"instances": [1.0]},
    "scraped/labels/stable:predict": {"instances": [1.0]},
    "scraped_hooks:predict": {"instances": ["4"]},
    "batched:predict": {"instances": [[0.0] * 32]},
    "slow:predict": {"inputs": {"iterations": 25}},
    "nobody:predict": {"instances": [1.0]},
}


SAME_ON_BOTH_PAGES = {
    name: f'{{__name__="{name}", job="{EXPOSITION_JOB}"}} == on ({labels}) {{__name__="{other}", job="ray_model_server"}}'
    for name, other, labels in (
        ("tensorflow_serving_request_count_total", ":tensorflow:serving:request_count", "model_name, status"),
        (
            "tensorflow_serving_request_latency_count",
            ":tensorflow:serving:request_latency_count",
            "model_name, API, entrypoint",
        ),
        ("ray_model_server_load_seconds_sum", "ray_model_server_load_seconds_sum", "model_name"),
        ("ray_model_server_rollout_steps_total", "ray_model_server_rollout_steps_total", "model_name, step"),
        ("ray_model_server_version_state", "ray_model_server_version_state", "model_name, version, state"),
    )
}


def test_the_alert_rules_are_valid_and_fire_when_they_should() -> None:
    """Promtool's own check, and a test for each alert."""
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(ALERTS_TEST)]):
        done = subprocess.run([program("promtool"), *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def unanswered(asked: Prometheus, queries: dict[str, str]) -> list[str]:
    """Name the queries that have no numbers."""
    return [
        title for title, query in queries.items() if not [one for one in asked.values(query) if not math.isnan(one)]
    ]


@pytest.mark.timeout(600)
def test_every_panel_and_rule_is_answered_with_data(
    server: LiveServer, client: RestClient, saved_models: Path, tmp_path: Path
) -> None:
    """While a little of everything is asked, Prometheus reads the page and has numbers for the whole dashboard."""
    program("prometheus")
    server.configure("scraped", saved_models / "half_plus_two", 'version_labels { key: "stable" value: 1 }')
    write_hooks(shutil.copytree(saved_models / "half_plus_two" / "1", tmp_path / "hooks" / "1"))
    server.configure("scraped_hooks", tmp_path / "hooks")
    wait_until(lambda: client.available("scraped") == {1}, "the model with a label is available")
    wait_until(lambda: client.available("scraped_hooks") == {1}, "the model with hooks is available")
    queries = panel_queries(window="15s")
    with prometheus(tmp_path, server.rest_port) as asked, ExitStack() as load:
        for target, body in BODIES.items():
            load.enter_context(ClosedLoop(server.rest_port, f"/v1/models/{target}", body, clients=1, pause_s=0.1))
        wait_until(lambda: asked.values('up{job="ray_model_server"}') == [1], "the page is read")
        wait_until(lambda: not unanswered(asked, queries), "every panel has data")
        wait_until(lambda: not unanswered(asked, SAME_ON_BOTH_PAGES), "the other page has the same samples")
        metadata = asked.get("metadata", metric="ray_model_server_fetched_bytes")
        rules = [rule for group in asked.get("rules")["groups"] for rule in group["rules"]]
        targets = {one["labels"]["job"]: one for one in asked.get("targets")["activeTargets"]}
    for name in ("scraped", "scraped_hooks"):
        server.remove(name)

    assert len(queries) > 30
    assert metadata["ray_model_server_fetched_bytes"][0]["unit"] == "bytes"
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}
    assert {(one["health"], one["lastError"]) for one in targets.values()} == {("up", "")}
    assert targets.keys() == {"ray_model_server", EXPOSITION_JOB}
    assert "RayModelServerDown" not in {rule["name"] for rule in rules if rule["state"] == "firing"}
