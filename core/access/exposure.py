"""Says in one line what a server leaves open to whom, where it listens for more than its own machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from core.config.server_settings import FrontDoorSettings

LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


def exposure(door: FrontDoorSettings) -> Iterator[str]:
    """Yield the line, if there is something to say."""
    ports = [str(port) for port in (door.grpc_port, door.rest_port) if port]
    if not ports or _is_loopback(door.host):
        return
    where = f"port {ports[0]}" if len(ports) == 1 else f"ports {' and '.join(ports)}"
    if not door.access_file:
        own = "on this machine only" if not door.remote_admin else "for them, too"
        yield (
            f"Everyone who reaches {where} may run models, see their state and replace the list of models; "
            f"load, unload, label and profile are answered {own}. --access_file says who may do what."
        )
    elif not door.ssl_config_file or (door.rest_port and not door.rest_ssl_config_file):
        yield f"Tokens for {where} can be read on the way where TLS is missing: --ssl_config_file encrypts."
    if door.access_file and door.remote_admin:
        yield "--enable_remote_admin has no effect with --access_file, which says who may change what."


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in LOCAL_NAMES
