"""`make serve`: Ray's own command, on a Ray that is started up to three times."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import yaml

from deployments.launch import serve_run
from deployments.launch.endings import FAILED_START
from deployments.launch.ray_start import StartTimedOut
from deployments.launch.serve_run import main
from tests.support.clients import free_port


class Starts:
    """Starts of which all are late but the last one, if there is one that succeeds."""

    def __init__(self, *, late: int) -> None:
        self.late = late

    def start(self) -> None:
        if self.late:
            self.late -= 1
            raise StartTimedOut

    def clear(self) -> None:
        """Nothing was left behind."""


@pytest.fixture(autouse=True)
def _own_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster is joined, whatever runs on this machine."""
    monkeypatch.setattr(serve_run, "_joins", lambda: False)


def config(folder: Path, *, rest: int, proxy: int) -> str:
    """Write a config of Ray Serve with these ports."""
    application = {
        "import_path": "deployments.app:build",
        "args": {"port": 0, "model_base_path": str(folder), "rest_api_port": rest, "grpc_socket_path": "/s"},
    }
    document = {"http_options": {"host": "127.0.0.1", "port": proxy}, "applications": [application]}
    (folder / "app.yaml").write_text(yaml.safe_dump(document))
    return str(folder / "app.yaml")


def test_a_ray_that_never_comes_up_ends_the_command_with_one_paragraph(capfd: pytest.CaptureFixture[str]) -> None:
    """A traceback of Ray's would not say what to do."""
    assert main(["module:application"], Starts(late=3)) == FAILED_START

    shown = capfd.readouterr()
    assert shown.err.splitlines() == [f"Ray did not start within its 30 s; trying again ({n} of 3)" for n in (2, 3)]
    assert shown.out.startswith(
        "Failed to start server. Error: UNAVAILABLE: Ray did not start in 3 tries of 30 s each."
    )
    assert shown.out.count("\n") == 1


def test_the_configuration_is_handed_to_rays_own_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`serve run` reads the file, checks it, and so goes on from the Ray that was started."""
    file = tmp_path / "app.yaml"
    file.write_text("applications: 7\n")

    assert main([str(file)], Starts(late=1)) == FAILED_START

    shown = "".join(capfd.readouterr())
    assert f"Running config file: '{file}'" in shown
    assert "Failed to start server. Error: INVALID_ARGUMENT: 1 validation error" in shown


@pytest.mark.parametrize("shared", ["REST", "Ray Serve's HTTP proxy"])
def test_a_second_server_ends_before_anything_of_ray_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], shared: str
) -> None:
    """Serve's proxies would share their port with those of the first one, and take some of its requests."""
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        first.bind(("127.0.0.1", 0))
        first.listen()
        taken = first.getsockname()[1]
        rest, proxy = (taken, free_port()) if shared == "REST" else (free_port(), taken)

        assert main([config(tmp_path, rest=rest, proxy=proxy)], Starts(late=3)) == FAILED_START

    shown = capfd.readouterr()
    assert shown.out.startswith(
        f"Failed to start server. Error: FAILED_PRECONDITION: Port {taken} ({shared}) is taken by "
    )
    assert f"(process {os.getpid()})" in shown.out
    assert (shown.out.count("\n"), shown.err) == (1, "")
