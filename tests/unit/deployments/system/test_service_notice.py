"""States for systemd: one datagram to the socket that it names."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from deployments.system.service_notice import READY, notify_service


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_state_reaches_the_service_manager(tmp_path: Path, kind: str) -> None:
    """A path, or a name in the abstract space, which begins with @."""
    name = str(tmp_path / "notify") if kind == "path" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name if kind == "path" else f"\0{name[1:]}")

        notify_service({"NOTIFY_SOCKET": name}, READY)

        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_service_manager_nothing_happens(environment: dict[str, str]) -> None:
    """A server does not fail because nobody wants to know."""
    notify_service(environment, READY)
