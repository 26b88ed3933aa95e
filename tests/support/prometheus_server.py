"""A real Prometheus that scrapes a server of the tests."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.support.clients import free_port, wait_until
from tests.support.project import ROOT
from tests.support.prometheus_page import PATH
from tests.support.tools import program

ALERTS = ROOT / "configs" / "prometheus" / "alerts.yaml"
EXPOSITION_JOB = "everybodys"
"""The job that scrapes `/metrics`, beside the one that scrapes TensorFlow Serving's page."""
ALERTS_TEST = Path(__file__).parent / "prometheus" / "alerts_test.yaml"


class Prometheus:
    """Asks a running Prometheus."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer; fails when the question is wrong."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def values(self, query: str) -> list[float]:
        """Return the numbers that a query has now."""
        return [float(one["value"][1]) for one in self.get("query", query=query)["result"]]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self.get("status/buildinfo"))
        except (OSError, ValueError):  # while it starts, it answers in plain text
            return False


@contextmanager
def prometheus(folder: Path, rest_port: int) -> Iterator[Prometheus]:
    """Run a Prometheus with our rules that scrapes a REST port every second."""
    scrape = {
        "job_name": "ray_model_server",
        "metrics_path": PATH,
        "static_configs": [{"targets": [f"127.0.0.1:{rest_port}"]}],
    }
    open_metrics = {**scrape, "job_name": EXPOSITION_JOB, "metrics_path": "/metrics"}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [scrape, open_metrics],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        "--enable-feature=exemplar-storage",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        asked = Prometheus(port)
        wait_until(asked.is_ready, "Prometheus answers", 60)
        yield asked
    finally:
        process.terminate()
        process.wait(60)
