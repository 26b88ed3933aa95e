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

START_OPTIONS: Final = ("proxy_location", "http_options", "grpc_options", "logging_config", "controller_options")
"""Sections that are options of `serve.start`, under the same names."""

OF_THE_APPLICATION: Final = frozenset({"name", "route_prefix", "import_path", "args"})
ADVICE: Final = "`serve run` runs such a file"
DISABLED: Final = "Disabled"
WITHOUT_PROXIES: Final[Mapping[str, Any]] = MappingProxyType({"proxy_location": DISABLED})


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port, the address that it is bound on (empty for every interface), and what it is for."""

    host: str
    port: int
    what: str


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """The `args` of our application, and the options with which Serve is started."""

    args: Mapping[str, Any]
    options: Mapping[str, Any]


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
    return ServeConfig(args, {name: document[name] for name in START_OPTIONS if document.get(name) is not None})


def _only_for_ray(document: Mapping[Any, Any]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a document that are not ours to understand, each with the reason."""
    for name in document:
        if name not in {"applications", *START_OPTIONS}:
            yield str(name), f"is not known here; {ADVICE}"
    applications = document.get("applications")
    if not isinstance(applications, list) or len(applications) != 1 or not isinstance(applications[0], dict):
        yield "applications", f"must be one application, with import_path {IMPORT_PATH}; {ADVICE}"
        return
    [one] = applications
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


def ports_of_proxies(options: Mapping[str, Any]) -> Iterator[PortUse]:
    """Yield the ports of Serve's proxies with these options; the gRPC proxy runs only where it has services."""
    if options.get("proxy_location") == DISABLED:
        return
    http, grpc = (_section(options, name) for name in ("http_options", "grpc_options"))
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
