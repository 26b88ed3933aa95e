"""The ports that a config of Ray Serve makes a node listen on: our routers', and those of Serve's own proxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.config.file_check import IMPORT_PATH
from core.config.server_settings import FrontDoorSettings

SERVES_HTTP_PORT, SERVES_GRPC_PORT = 8000, 9000
EVERY_INTERFACE = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port, the address that it is bound on (empty for every interface), and what it is for."""

    host: str
    port: int
    what: str


def ports_of_door(door: FrontDoorSettings) -> tuple[PortUse, ...]:
    """Return the ports that each router opens."""
    uses = (PortUse(door.host, door.grpc_port, "gRPC"), PortUse(door.host, door.rest_port, "REST"))
    return tuple(use for use in uses if use.port)


def ports_to_hold(door: FrontDoorSettings) -> tuple[PortUse, ...]:
    """Return the ports that another process may hold for a router.

    gRPC's own library, which serves TLS and takes channel arguments, binds its port itself.
    """
    by_library = bool(door.ssl_config_file or door.grpc_channel_arguments)
    return tuple(use for use in ports_of_door(door) if use.what != "gRPC" or not by_library)


def arguments_of_config(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the `args` of each of our applications in a config; what is not of the expected type is left out."""
    applications = document.get("applications")
    for one in applications if isinstance(applications, list) else ():
        given = one.get("args") if isinstance(one, dict) and one.get("import_path") == IMPORT_PATH else None
        if isinstance(given, dict):
            yield given


def ports_of_proxies(document: Mapping[str, Any]) -> Iterator[PortUse]:
    """Yield the ports of Serve's proxies; the gRPC proxy runs only where it has services."""
    if document.get("proxy_location") == "Disabled":
        return
    http, grpc = (_section(document, name) for name in ("http_options", "grpc_options"))
    host = str(http.get("host", EVERY_INTERFACE))
    yield PortUse(host, _port(http, SERVES_HTTP_PORT), "Ray Serve's HTTP proxy")
    if grpc.get("grpc_servicer_functions"):
        yield PortUse("", _port(grpc, SERVES_GRPC_PORT), "Ray Serve's gRPC proxy")


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _port(section: Mapping[str, Any], default: int) -> int:
    port = section.get("port", default)
    return port if isinstance(port, int) else default
