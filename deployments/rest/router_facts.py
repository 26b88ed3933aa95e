"""A router's description of itself for the status document: where it listens, and which files list its models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.admin.status_document import Listener, RouterFacts
from core.config.server_settings import FrontDoorSettings, ServerSettings
from core.errors import Problem
from deployments.system.installed import interpreter_warnings, server_version
from deployments.system.port_claim import bracketed, has_ipv6


def router_facts(
    settings: ServerSettings,
    name: str,
    since_s: float,
    runs_by: Mapping[str, str],
    *,
    is_draining: bool,
    problems: tuple[Problem, ...] = (),
) -> RouterFacts:
    """Return the description of a router with these settings."""
    source = settings.source
    files = (source.model_config_file, source.model_settings_file)
    listeners = tuple(_listeners(settings.front_door))
    return RouterFacts(
        name,
        server_version(),
        since_s,
        listeners,
        tuple(filter(None, files)),
        is_draining=is_draining,
        warnings=interpreter_warnings(),
        runs_by=runs_by,
        problems=problems,
    )


def _listeners(door: FrontDoorSettings) -> Iterator[Listener]:
    places = (
        ("grpc", door.grpc_port, door.grpc_socket_path, bool(door.ssl_config_file)),
        ("rest", door.rest_port, door.rest_socket_path, bool(door.rest_ssl_config_file)),
    )
    for protocol, port, socket_path, is_encrypted in places:
        if port:
            yield Listener(protocol, f"{_host(door)}:{port}", is_encrypted)
        if socket_path:
            yield Listener(protocol, f"unix:{socket_path}", is_encrypted)


def _host(door: FrontDoorSettings) -> str:
    return bracketed(door.host) if door.host else "[::]" if has_ipv6() else "0.0.0.0"
