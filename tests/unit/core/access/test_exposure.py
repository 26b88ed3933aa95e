"""What a start says of who may do what."""

from __future__ import annotations

import pytest

from core.access.exposure import exposure
from core.config.server_settings import FrontDoorSettings


@pytest.mark.parametrize(
    ("door", "wanted"),
    [
        (FrontDoorSettings(), ["port 8500", "answered on this machine only"]),
        (FrontDoorSettings(rest_port=8501), ["ports 8500 and 8501"]),
        (FrontDoorSettings(host="0.0.0.0", remote_admin=True), ["answered for them, too"]),
        (FrontDoorSettings(access_file="f"), ["can be read on the way"]),
        (FrontDoorSettings(access_file="f", ssl_config_file="s", rest_port=1), ["can be read on the way"]),
        (FrontDoorSettings(host="fd00::1"), ["port 8500"]),
    ],
)
def test_a_server_that_others_reach_says_in_one_line_what_is_open(door: FrontDoorSettings, wanted: list[str]) -> None:
    """An operator sees it at the start, and not after an incident."""
    (line,) = exposure(door)

    assert "\n" not in line
    assert all(one in line for one in wanted), line


@pytest.mark.parametrize(
    "door",
    [
        FrontDoorSettings(host="127.0.0.1"),
        FrontDoorSettings(host="localhost"),
        FrontDoorSettings(host="::1"),
        FrontDoorSettings(grpc_port=0, grpc_socket_path="/x"),
        FrontDoorSettings(access_file="f", ssl_config_file="s", rest_port=1, rest_ssl_config_file="s"),
    ],
)
def test_a_server_that_nobody_else_reaches_or_that_is_guarded_says_nothing(door: FrontDoorSettings) -> None:
    """A line that is always there is not read."""
    assert list(exposure(door)) == []


def test_a_flag_without_effect_is_said() -> None:
    """Rules count alone."""
    door = FrontDoorSettings(access_file="f", ssl_config_file="s", remote_admin=True)

    assert [one for one in exposure(door) if "no effect" in one]


@pytest.mark.parametrize(
    ("door", "proxies", "wanted"),
    [
        (FrontDoorSettings(), [("127.0.0.1", 8000), ("", 9000)], "ports 8500 and 9000 may"),
        (FrontDoorSettings(rest_port=8501), [("0.0.0.0", 8000), ("", 9000)], "ports 8500, 8501, 8000 and 9000 may"),
        (FrontDoorSettings(host="127.0.0.1"), [("", 9000)], "port 9000 may"),
        (
            FrontDoorSettings(access_file="f", ssl_config_file="s"),
            [("", 9000)],
            "port 9000 can be read on the way: Ray Serve's own proxies (port 9000) have no TLS.",
        ),
    ],
)
def test_serves_own_proxies_are_open_too(door: FrontDoorSettings, proxies: list[tuple[str, int]], wanted: str) -> None:
    """Those of `make serve`, wherever its config lets them listen."""
    (line,) = exposure(door, proxies)

    assert wanted in line
    assert not list(exposure(FrontDoorSettings(host="::1"), [("127.0.0.1", 8000)]))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, "ports 1 and 2 can be read on the way: TLS is switched on by --ssl_config_file and --rest_api_ssl_config"),
        ({"ssl_config_file": "s"}, "port 2 can be read on the way: TLS is switched on by --rest_api_ssl_config_file."),
        ({"rest_ssl_config_file": "s"}, "port 1 can be read on the way: TLS is switched on by --ssl_config_file."),
    ],
)
def test_the_flag_of_the_port_without_tls_is_named(files: dict[str, str], wanted: str) -> None:
    """Each port has its own."""
    (line,) = exposure(FrontDoorSettings(grpc_port=1, rest_port=2, access_file="f", **files))

    assert wanted in line
