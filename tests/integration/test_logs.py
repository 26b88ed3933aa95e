"""Log files of a running server: each process has its own, where Ray's dashboard looks for it."""

from __future__ import annotations

from deployments.telemetry.process_logs import session_logs
from tests.integration.conftest import LiveServer
from tests.support.clients import wait_until


def lines_of(pattern: str, event: str) -> list[str]:
    """Return the lines of an event in the files of that name."""
    files = session_logs().glob(pattern)
    return [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if f" {event} " in line]


def test_rollout_steps_and_loads_are_in_the_logs_of_their_processes(server: LiveServer) -> None:
    """An operator finds out from the files alone what happened to a version."""
    assert server.rest_port
    steps = lines_of("ray_model_server_watcher.log", "version_state")
    loads = lines_of("ray_model_server_model_half_plus_two_*.log", "version_loaded")
    doors = lines_of("ray_model_server_router_*.log", "front_door_open")

    assert any(" model=half_plus_two " in line and " to=AVAILABLE " in line for line in steps)
    assert any(" INFO model version_loaded model=half_plus_two " in line for line in loads)
    assert any(f" rest_port={server.rest_port} " in line for line in doors)


def test_a_start_is_not_a_failure(server: LiveServer) -> None:
    """Serve starts the watcher before the first router: it waits, and does not call that a failed tick."""
    assert server.rest_port

    before, event, _ = (session_logs() / "ray_model_server_watcher.log").read_text().partition(" version_state ")

    assert event
    assert " tick_failed " not in before


def test_a_version_that_is_taken_away_leaves_its_steps(server: LiveServer, base_path) -> None:
    """Loaded, withdrawn, gone; each with its time."""
    server.copy_version("half_plus_two", 1, base_path)
    server.configure("logged_steps", base_path)
    try:
        wait_until(lambda: "to=AVAILABLE" in " ".join(_steps("logged_steps")), "the version is loaded")
    finally:
        server.remove("logged_steps")

    wait_until(lambda: "from=UNLOADING to=END" in " ".join(_steps("logged_steps")), "the version is gone")
    ways = [line.partition(" from=")[2].split(" took_s=")[0] for line in _steps("logged_steps")]
    assert ways[-2:] == ["AVAILABLE to=UNLOADING", "UNLOADING to=END"]


def _steps(model: str) -> list[str]:
    return [line for line in lines_of("ray_model_server_watcher.log", "version_state") if f" model={model} " in line]
