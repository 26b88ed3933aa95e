"""A server that uses one extension of each kind, as docs/extending.md describes them; they are installed for it alone."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients import RestClient, free_port, wait_until
from tests.support.extension_packages import install, install_example

SCRIPT = Path(sys.executable).with_name("ray_model_server")
WITNESS = """
import os, pathlib
pathlib.Path(__file__).with_name(f"imported-{os.getpid()}").touch()
"""
POINTS = ("platforms", "sources", "log_collectors", "version_policies")


@dataclass
class Extended:
    """The server: its client, its output, and the folders that the test looks into."""

    client: RestClient
    folder: Path
    output: Path

    def write(self, *versions: int, factor: float = 2.0) -> None:
        """Replace the zip file by one with these versions of model `m`."""
        aside = self.folder / "aside"
        with zipfile.ZipFile(aside, "w") as file:
            for version in versions:
                file.writestr(f"m/{version}/factor.txt", str(factor))
        aside.replace(self.folder / "models.zip")

    def available(self) -> set[str]:
        """Return the versions of `m` that answer."""
        found = self.client.get("/v1/models/m").json.get("model_version_status", ())
        return {one["version"] for one in found if one["state"] == "AVAILABLE"}


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, saved_models: Path) -> Iterator[Extended]:
    """A server of its own, which sees the packages by PYTHONPATH; model `plain` uses none of them."""
    folder = tmp_path_factory.mktemp("extended")
    packages = folder / "packages"
    packages.mkdir()
    install_example(packages)
    install(packages, "witness", {point: {"witness": "witness:X"} for point in POINTS}, {"witness": WITNESS})
    (folder / "s.yaml").write_text(f"""
models:
  m:
    base_path: zip+file://{folder}/models.zip/m
    platform: multiply
    version_policy: {{newest_of_each_major: {{majors: 2}}}}
    logging: {{collector: csv, filename_prefix: {folder}/log, sampling_rate: 1}}
  plain:
    base_path: {saved_models / "half_plus_two"}
""")
    port, output = free_port(), folder / "output"
    made = Extended(RestClient(port), folder, output)
    made.write(10001, 10002, 20001)
    flags = (f"--model_settings_file={folder}/s.yaml", f"--rest_api_port={port}", f"--port={free_port()}")
    polling = ("--remote_poll_wait_seconds=1", f"--model_cache_dir={folder}/cache", "--host=127.0.0.1")
    environment = os.environ | {"RAY_AUTH_MODE": "token", "PYTHONPATH": str(packages)}
    with output.open("w") as file:
        process = subprocess.Popen(
            [SCRIPT, *flags, *polling], env=environment, stdout=file, stderr=file, process_group=0
        )
    try:
        wait_until(lambda: process.poll() is not None or "] ready" in output.read_text(), "the server is ready", 150)
        assert process.poll() is None, output.read_text()
        yield made
    finally:
        process.terminate()
        process.wait(120)


@pytest.mark.timeout(300)
def test_one_server_uses_an_extension_of_each_kind(extended: Extended) -> None:
    """The source lists and fetches, the policy selects, the platform answers, the collector writes what was asked.

    A new version in the source rolls out as from any storage and by any policy.
    """
    wait_until(lambda: extended.available() == {"10002", "20001"}, "the policy's versions answer", 60)

    reply = extended.client.post("/v1/models/m/versions/10002:predict", {"instances": [1.0, 2.5]})
    metadata = extended.client.get("/v1/models/m/metadata")
    plain = extended.client.post("/v1/models/plain:predict", {"instances": [2.0]})

    assert (reply.status, reply.json) == (200, {"predictions": [2.0, 5.0]})
    assert metadata.json["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]["x"]["dtype"]
    assert plain.json == {"predictions": [3.0]}
    # The server's own request at its start is logged, too.
    wait_until(lambda: ("m", "10002", "predict") in logged(extended.folder), "the collector wrote a line", 30)
    (shown,) = (one for one in extended.client.get("/status.json").json["models"] if one["name"] == "m")
    assert shown["version_policy"] == {"extension": "newest_of_each_major", "arguments": {"majors": 2}}
    assert shown["problem"] is None

    extended.write(10001, 10002, 10003, 20001)
    wait_until(lambda: extended.available() == {"10003", "20001"}, "10003 takes over from 10002", 90)
    later = extended.client.post("/v1/models/m/versions/10003:predict", {"instances": [3.0]})
    assert later.json == {"predictions": [6.0]}


@pytest.mark.timeout(300)
def test_an_extension_that_nobody_names_is_never_imported(extended: Extended) -> None:
    """In none of the processes of a server, although each of them sees it."""
    wait_until(lambda: extended.client.get("/v1/models/plain").status == 200, "the server answers", 60)

    assert list((extended.folder / "packages").glob("imported-*")) == []


def logged(folder: Path) -> list[tuple[str, ...]]:
    """Return model, version and method of the lines of all request logs."""
    return [tuple(line[1:4]) for file in folder.glob("log-*.csv") for line in csv.reader(file.read_text().splitlines())]
