"""What `make serve` takes from a config of Ray Serve, and the ports that it needs on a node."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from core.admin.serve_config import PortUse, ports_of_door, ports_of_proxies, ports_to_hold, read_serve_config
from core.config.arguments import parse_flags
from core.errors import ConfigError
from tests.support.project import ROOT

HTTP, GRPC = "Ray Serve's HTTP proxy", "Ray Serve's gRPC proxy"


def test_the_projects_own_config_uses_four_ports() -> None:
    """Those of TensorFlow Serving, and Serve's."""
    config = read_serve_config((ROOT / "configs" / "app.yaml").read_text(), "app.yaml")
    settings = parse_flags([f"--{name}={value}" for name, value in config.args.items()]).settings
    assert settings is not None

    assert ports_of_door(settings.front_door) == (PortUse("", 8500, "gRPC"), PortUse("", 8501, "REST"))
    assert list(ports_of_proxies(config.serve)) == [PortUse("127.0.0.1", 8000, HTTP), PortUse("", 9000, GRPC)]


@pytest.mark.parametrize(
    ("document", "ports"),
    [
        ({}, [PortUse("0.0.0.0", 8000, HTTP)]),
        ({"proxy_location": "Disabled"}, []),
        ({"http_options": {"port": 81, "host": "::1"}}, [PortUse("::1", 81, HTTP)]),
        ({"http_options": 7, "grpc_options": {"grpc_servicer_functions": ["a:b"]}},
         [PortUse("0.0.0.0", 8000, HTTP), PortUse("", 9000, GRPC)]),
        ({"http_options": {"port": "many"}}, [PortUse("0.0.0.0", 8000, HTTP)]),
    ],
)  # fmt: skip
def test_serves_proxies_have_its_defaults(document: dict[str, Any], ports: list[PortUse]) -> None:
    """What is not of the expected type is Serve's to refuse."""
    assert list(ports_of_proxies(document)) == ports


OURS = {"import_path": "deployments.app:build", "args": {"port": 1}}


def test_the_sections_of_serve_are_kept_as_they_are() -> None:
    """Serve checks them; those that are empty are its to choose."""
    sections = {"proxy_location": "Disabled", "logging_config": {"log_level": "ERROR"}, "grpc_options": None}

    config = read_serve_config(yaml.safe_dump({**sections, "applications": [OURS]}), "f")

    assert config.args == {"port": 1}
    assert config.serve == {"proxy_location": "Disabled", "logging_config": {"log_level": "ERROR"}}


def test_an_application_may_have_no_flags() -> None:
    """Which is for the flags to refuse."""
    assert read_serve_config(yaml.safe_dump({"applications": [{**OURS, "args": None}]}), "f").args == {}


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({}, ["applications"]),
        ({"applications": None}, ["applications"]),
        ({"applications": []}, ["applications"]),
        ({"applications": [7]}, ["applications"]),
        ({"applications": [OURS, OURS]}, ["applications"]),
        ({"applications": [{**OURS, "import_path": "other:app"}]}, ["applications.import_path"]),
        ({"applications": [{**OURS, "args": [1]}]}, ["applications.args"]),
        ({"applications": [{**OURS, "deployments": []}]}, ["applications.deployments"]),
        ({"applications": [OURS], "target_capacity": 50}, ["target_capacity"]),
        ({"applications": [OURS], 7: 1}, ["7"]),
        ({"applications": [OURS], "http_options": 7, "grpc_options": [1]}, ["http_options", "grpc_options"]),
    ],
)
def test_what_only_ray_can_run_is_refused(document: object, fields: list[str]) -> None:
    """Rather than left out in silence."""
    with pytest.raises(ConfigError) as refused:
        read_serve_config(yaml.safe_dump(document), "f")

    assert [(one.file, one.field) for one in refused.value.problems] == [("f", field) for field in fields]


@pytest.mark.parametrize("text", ["", "7", "[1]", "{", "a: !!python/object:os.system x"])
def test_what_is_not_a_config_is_refused(text: str) -> None:
    """Nothing of it is run."""
    with pytest.raises(ConfigError):
        read_serve_config(text, "f")


def test_a_door_without_a_port_uses_none() -> None:
    """0 switches a port off."""
    settings = parse_flags(["--port=0", "--rest_api_port=0", "--grpc_socket_path=/s", "--model_base_path=/m"]).settings
    assert settings is not None

    assert ports_of_door(settings.front_door) == ()


@pytest.mark.parametrize(
    ("flags", "held"),
    [
        ([], {"gRPC", "REST"}),
        (["--rest_api_ssl_config_file=/s"], {"gRPC", "REST"}),
        (["--ssl_config_file=/s"], {"REST"}),
        (["--grpc_channel_arguments=grpc.max_send_message_length=1"], {"REST"}),
    ],
)
def test_a_port_that_grpcs_own_library_binds_is_not_held(flags: list[str], held: set[str]) -> None:
    """The library has no way to take a socket that is bound."""
    settings = parse_flags(["--port=1", "--rest_api_port=2", "--model_base_path=/m", *flags]).settings
    assert settings is not None

    assert {use.what for use in ports_to_hold(settings.front_door)} == held
