"""Tests of a router's description of itself."""

from __future__ import annotations

import pytest

from core.admin.status_document import Listener
from core.config.server_settings import FrontDoorSettings, ModelSourceSettings, ServerSettings
from deployments.rest.router_facts import router_facts
from deployments.system.installed import server_version


@pytest.mark.parametrize(
    ("door", "listeners"),
    [
        (FrontDoorSettings("127.0.0.1", 1, rest_port=2), [Listener("grpc", "127.0.0.1:1"), Listener("rest", "127.0.0.1:2")]),
        (FrontDoorSettings("::1", 1, "/g"), [Listener("grpc", "[::1]:1"), Listener("grpc", "unix:/g")]),
        (
            FrontDoorSettings("h", 0, rest_socket_path="/r", rest_ssl_config_file="s"),
            [Listener("rest", "unix:/r", is_encrypted=True)],
        ),
    ],
)  # fmt: skip
def test_a_router_says_where_it_listens(door: FrontDoorSettings, listeners: list[Listener]) -> None:
    """Every port and socket, and whether it is encrypted."""
    settings = ServerSettings(door, ModelSourceSettings("/m.config", model_settings_file="/s.yaml"))

    facts = router_facts(settings, "r", 5.0, {"a": "python"}, is_draining=True)

    assert list(facts.listeners) == listeners
    assert (facts.files, facts.version, facts.is_draining) == (("/m.config", "/s.yaml"), server_version(), True)
    assert facts.runs_by == {"a": "python"}


def test_every_interface_is_written_as_one() -> None:
    """Without a host."""
    (grpc,) = router_facts(ServerSettings(), "r", 5.0, {}, is_draining=False).listeners

    assert grpc.address in {"[::]:8500", "0.0.0.0:8500"}
