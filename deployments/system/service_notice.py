"""Reports states to systemd, which starts us with `NOTIFY_SOCKET` in units of `Type=notify` (sd_notify(3))."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

READY = "READY=1"
STOPPING = "STOPPING=1"
STATUS = "STATUS="
"""Begins a line for people, which `systemctl status` shows."""


def notify_service(environment: Mapping[str, str], state: str) -> None:
    """Send a state; does nothing without a service manager that asked for it, and never fails."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), address)
