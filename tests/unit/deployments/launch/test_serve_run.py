"""`make serve`: our application in a config of Ray Serve, started as `ray_model_server` starts it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import yaml

from core.config.server_settings import ClusterSettings, ServerSettings
from deployments.launch.endings import FAILED_START
from deployments.launch.serve_run import USAGE, WRONG_ARGUMENTS, main, on_cluster
from tests.support.clients import free_port


def config(folder: Path, *, rest: int, proxy: int) -> str:
    """Write a config of Ray Serve with these ports."""
    application = {
        "import_path": "deployments.app:build",
        "args": {"port": 0, "model_base_path": str(folder), "rest_api_port": rest, "grpc_socket_path": "/s"},
    }
    document = {"http_options": {"host": "127.0.0.1", "port": proxy}, "applications": [application]}
    (folder / "app.yaml").write_text(yaml.safe_dump(document))
    return str(folder / "app.yaml")


@pytest.mark.parametrize("shared", ["REST", "Ray Serve's HTTP proxy"])
def test_a_second_server_ends_before_anything_of_ray_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    """Serve's proxies would share their port with those of the first one, and take some of its requests."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", 0))
        first.listen()
        taken = first.getsockname()[1]
        rest, proxy = (taken, free_port()) if shared == "REST" else (free_port(), taken)

        assert main([config(tmp_path, rest=rest, proxy=proxy)]) == FAILED_START

    shown = capfd.readouterr()
    assert shown.out.startswith(
        f"Failed to start server. Error: FAILED_PRECONDITION: Port {taken} ({shared}) is taken by "
    )
    assert f"(process {os.getpid()})" in shown.out
    assert (shown.out.count("\n"), shown.err) == (1, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("applications: 7\n", "applications: must be one application, with import_path deployments.app:build"),
        ("[", "is not YAML"),
        ("", "is not a config of Ray Serve"),
        ("applications: [{import_path: 'deployments.app:build', args: {prot: 1}}]", "unknown argument: prot"),
    ],
)
def test_a_config_with_mistakes_is_refused_at_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    """`serve run` would start Ray, and then wait for ever."""
    file = tmp_path / "app.yaml"
    file.write_text(text)

    assert main([str(file)]) == FAILED_START

    shown = capfd.readouterr().out
    assert shown.startswith("Failed to start server. Error: INVALID_ARGUMENT: ")
    assert reason in shown


@pytest.mark.parametrize("arguments", [[], ["a.yaml", "b.yaml"], ["--help"]])
def test_it_takes_one_file(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The flags are in that file."""
    assert main(arguments) == WRONG_ARGUMENTS

    assert capfd.readouterr().out == f"{USAGE}\n"


@pytest.mark.parametrize(
    ("own", "named", "joined"),
    [("", "", ""), ("", "local", ""), ("", "10.0.0.1:6379", "10.0.0.1:6379"), ("10.0.0.2:1", "auto", "10.0.0.2:1")],
)
def test_it_joins_the_cluster_that_the_environment_names(own: str, named: str, joined: str) -> None:
    """As Ray's own commands do; the flag comes first. Without either, it has a Ray of its own."""
    settings = ServerSettings(cluster=ClusterSettings(ray_address=own))

    assert on_cluster(settings, {"RAY_ADDRESS": named} if named else {}).cluster.ray_address == joined
