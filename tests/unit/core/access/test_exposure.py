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
