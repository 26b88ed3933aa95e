"""A config of Ray Serve as `make serve` reads it: our flags, the options of Serve, and the ports of a node.

The ports are those of our routers and of Serve's own proxies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import yaml

from core.config.file_check import IMPORT_PATH
from core.config.server_settings import FrontDoorSettings
from core.errors import ConfigError, Problem

SERVES_HTTP_PORT, SERVES_GRPC_PORT = 8000, 9000
EVERY_INTERFACE = "0.0.0.0"

PROXY_LOCATION: Final = "proxy_location"
SECTIONS: Final = ("http_options", "grpc_options", "logging_config", "controller_options")
"""What Serve is started with, beside the place of its proxies."""

OF_THE_APPLICATION: Final = frozenset({"name", "route_prefix", "import_path", "args"})
ADVICE: Final = "`serve run` runs such a file"
DISABLED: Final = "Disabled"
WITHOUT_PROXIES: Final[Mapping[str, Any]] = MappingProxyType({PROXY_LOCATION: DISABLED})


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port, the address that it is bound on (empty for every interface), and what it is for."""

    host: str
    port: int
    what: str


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """The `args` of our application, and the sections with which Serve is started, as they stand in the file."""

    args: Mapping[str, Any]
    serve: Mapping[str, Any]


def read_serve_config(text: str, file: str) -> ServeConfig:
    """Read a config that has our application and nothing else; raises ConfigError with what only Ray can run."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError((Problem(f"is not YAML: {error}", file),)) from error
    if not isinstance(document, dict):
        raise ConfigError((Problem("is not a config of Ray Serve, which has `applications`", file),))
    problems = tuple(Problem(text, file, None, field) for field, text in _only_for_ray(document))
    if problems:
        raise ConfigError(problems)
    args = document["applications"][0].get("args") or {}
    known = (PROXY_LOCATION, *SECTIONS)
    return ServeConfig(args, {name: document[name] for name in known if document.get(name) is not None})


def _only_for_ray(document: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a document that are not ours to understand, each with the reason."""
    for name in document:
        if name not in {"applications", PROXY_LOCATION, *SECTIONS}:
            yield str(name), f"is not known here; {ADVICE}"
    for name in SECTIONS:
        if not isinstance(document.get(name) or {}, dict):
            yield name, "must be options with their values"
    found = document.get("applications")
    applications = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    if len(applications) == 1 == len(found or ()):
        yield from _of_another_application(applications[0])
    else:
        yield "applications", f"must be one application, with import_path {IMPORT_PATH}; {ADVICE}"


def _of_another_application(one: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    if one.get("import_path") != IMPORT_PATH:
        yield "applications.import_path", f"must be {IMPORT_PATH}; {ADVICE}"
    if not isinstance(one.get("args") or {}, dict):
        yield "applications.args", "must be flags with their values"
    for name in sorted(map(str, one.keys() - OF_THE_APPLICATION)):
        yield f"applications.{name}", f"is not known here; {ADVICE}"


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


def ports_of_proxies(sections: Mapping[str, Any]) -> Iterator[PortUse]:
    """Yield the ports of Serve's proxies with these sections; the gRPC proxy runs only where it has services."""
    if sections.get(PROXY_LOCATION) == DISABLED:
        return
    http, grpc = (_section(sections, name) for name in ("http_options", "grpc_options"))
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
