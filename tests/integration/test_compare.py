"""Two versions of a running server compared by what its own request logs recorded, and the signatures they declare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.recording.log_files import UNFINISHED
from deployments.cli import main
from deployments.replay.compare_command import DIFFERENT
from tests.integration.conftest import LiveServer
from tests.integration.test_broken_versions import name_of
from tests.support.clients import RestClient, wait_until

FORMATS = {"tf_record": "tfrecord", "json_lines": "jsonl"}

RAYS_OWN = ("\x1b[", "(")
"""How lines begin that the test session's Ray prints on the standard output of this process."""


@pytest.fixture
def model(server: LiveServer, base_path: Path, client: RestClient) -> Iterator[str]:
    """A model of which version 2 answers one more than version 1."""
    name = name_of(base_path)
    for version in (1, 2):
        server.copy_version("half_plus_two_versions", version, base_path)
    yield name
    server.remove(name)
    wait_until(lambda: "AVAILABLE" not in client.states(name).values(), "the model is unloaded")


@pytest.mark.parametrize("kind", FORMATS)
def test_versions_are_compared_by_a_request_log(
    server: LiveServer, client: RestClient, base_path: Path, model: str, tmp_path: Path, capsys, kind: str
) -> None:
    """What came over REST is put to both over gRPC; a version is equal to itself, and differs from another."""
    folder = tmp_path / "logs"
    folder.mkdir()
    policy = "model_version_policy { specific { versions: 1 versions: 2 } }"
    collected = f'log_collector_config {{ type: "{kind}" filename_prefix: "{folder}/log" }}'
    logging = f"logging_config {{ {collected} sampling_config {{ sampling_rate: 1 }} }}"
    server.configure(model, base_path, f"{policy} {logging}")
    wait_until(lambda: client.available(model) == {1, 2}, "both versions answer")

    def is_logged() -> bool:
        assert client.predict(model, [[2.0], [5.0]], version=1) == [[2.0], [3.5]]
        return any(one.suffix == f".{FORMATS[kind]}" for one in folder.iterdir())

    wait_until(is_logged, "a log is finished")
    log = next(one for one in folder.iterdir() if not one.name.endswith(UNFINISHED))
    kept = log.rename(tmp_path / log.name)  # the requests of the comparison are logged as well
    report = tmp_path / "report.html"

    def compared(old: int, new: int) -> tuple[int, dict]:
        arguments = ("compare", model, str(old), str(new), "--requests", str(kept), "--limit", "20", "--json")
        address = f"127.0.0.1:{server.grpc_port}"
        status = main([*arguments, "--report", str(report), "--server", address])
        printed = capsys.readouterr().out.splitlines()
        return status, json.loads("".join(line for line in printed if not line.startswith(RAYS_OWN)))

    assert compared(1, 1)[0] == 0
    status, document = compared(1, 2)
    assert status == DIFFERENT
    assert document["results"]["outside"] == document["requests"]["replayed"] > 0
    (output,) = document["outputs"]
    assert output["largest"] == pytest.approx(1.0)
    assert report.read_text().endswith("</html>\n")
