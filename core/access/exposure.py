"""Says in one line what a server leaves open to whom, where it listens for more than its own machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from core.config.server_settings import FrontDoorSettings

LOCAL_NAMES = frozenset({"localhost", "ip6-localhost"})


def exposure(door: FrontDoorSettings, proxies: Iterable[tuple[str, int]] = ()) -> Iterator[str]:
    """Yield the line, if there is something to say; `proxies` are the hosts and ports of Ray Serve's own proxies."""
    own = [port for port in (door.grpc_port, door.rest_port) if port and not _is_loopback(door.host)]
    theirs = [port for host, port in proxies if not _is_loopback(host)]
    if not own and not theirs:
        return
    if not door.access_file:
        admin = "on this machine only" if not door.remote_admin else "for them, too"
        yield (
            f"Everyone who reaches {_named([*own, *theirs])} may run models, see their state and replace the list of "
            f"models; load, unload, label and profile are answered {admin}. --access_file says who may do what."
        )
        return
    flags = _missing_tls(door) if own else {}
    if flags or theirs:
        advice = [f"TLS is switched on by {' and '.join(flags.values())}"] if flags else []
        advice += [f"Ray Serve's own proxies ({_named(theirs)}) have no TLS"] if theirs else []
        yield f"Tokens for {_named([*flags, *theirs])} can be read on the way: {'; '.join(advice)}."
    if door.remote_admin:
        yield "--enable_remote_admin has no effect with --access_file, which says who may change what."


def _missing_tls(door: FrontDoorSettings) -> Mapping[int, str]:
    """Return the ports without TLS, each with the flag that switches it on."""
    found = {door.grpc_port: "--ssl_config_file"} if not door.ssl_config_file else {}
    found |= {door.rest_port: "--rest_api_ssl_config_file"} if not door.rest_ssl_config_file else {}
    return {port: flag for port, flag in found.items() if port}


def _named(ports: Sequence[int]) -> str:
    *first, last = map(str, ports)
    return f"ports {', '.join(first)} and {last}" if first else f"port {last}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in LOCAL_NAMES
