"""The ports that a config of Ray Serve needs on a node."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from core.admin.serve_ports import PortUse, arguments_of_config, ports_of_door, ports_of_proxies, ports_to_hold
from core.config.arguments import parse_flags
from tests.support.project import ROOT

HTTP, GRPC = "Ray Serve's HTTP proxy", "Ray Serve's gRPC proxy"


def test_the_projects_own_config_uses_four_ports() -> None:
    """Those of TensorFlow Serving, and Serve's."""
    document = yaml.safe_load((ROOT / "configs" / "app.yaml").read_text())
    [args] = arguments_of_config(document)
    settings = parse_flags([f"--{name}={value}" for name, value in args.items()]).settings
    assert settings is not None

    assert ports_of_door(settings.front_door) == (PortUse("", 8500, "gRPC"), PortUse("", 8501, "REST"))
    assert list(ports_of_proxies(document)) == [PortUse("127.0.0.1", 8000, HTTP), PortUse("", 9000, GRPC)]


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


@pytest.mark.parametrize(
    "applications", [None, 7, [7], [{"import_path": "other:app", "args": {"port": 1}}], [{"args": {"port": 1}}]]
)
def test_only_our_applications_have_flags(applications: object) -> None:
    """Other applications may have any arguments."""
    assert list(arguments_of_config({"applications": applications})) == []


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
