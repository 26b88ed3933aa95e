"""The access file as a setting: checked at the start, with an absolute path, and by `check-config`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.config.server_settings import FrontDoorSettings, ModelSourceSettings, ServerSettings
from core.errors import ConfigError
from deployments.access.guard import guard_of
from deployments.commands import check_config
from deployments.config.startup_settings import check_access, checked, parse_arguments, with_absolute_paths
from tests.support.certificates import Authority, write_ssl_config
from tests.support.doors.guarded_sites import client_of

CERTIFIED = 'clients: {a: {certificates: ["CN:x"], allow: [{groups: [infer]}]}}'


def test_the_flags_set_it() -> None:
    """Both of them."""
    parsed = parse_arguments(["--model_base_path=/m", "--access_file=/a.yaml", "--enable_remote_admin"])

    assert parsed.settings is not None
    assert (parsed.settings.front_door.access_file, parsed.settings.front_door.remote_admin) == ("/a.yaml", True)


def test_a_file_with_mistakes_ends_the_start(tmp_path: Path) -> None:
    """A server that lets in everyone instead would be worse than none."""
    (tmp_path / "a.yaml").write_text("clients: {a: {}}")
    settings = ServerSettings(
        front_door=FrontDoorSettings(access_file=str(tmp_path / "a.yaml")),
        source=ModelSourceSettings(model_base_path="/m"),
    )

    with pytest.raises(ConfigError, match=r"clients\.a: has neither tokens nor certificates"):
        checked(settings)
    with pytest.raises(ConfigError, match="cannot be read"):
        checked(replace(settings, front_door=FrontDoorSettings(access_file=str(tmp_path / "absent.yaml"))))


def test_certificates_that_no_port_asks_for_are_a_mistake(tmp_path: Path) -> None:
    """Nobody could ever be that client."""
    (tmp_path / "a.yaml").write_text(CERTIFIED)
    authority, door = Authority(), FrontDoorSettings(access_file=str(tmp_path / "a.yaml"))
    write_ssl_config(tmp_path / "asking", authority, verify=True)
    write_ssl_config(tmp_path / "silent", authority)

    with pytest.raises(ConfigError, match="no port asks for one"):
        check_access(door)
    with pytest.raises(ConfigError, match="no port asks for one"):
        check_access(replace(door, ssl_config_file=str(tmp_path / "silent")))
    check_access(replace(door, rest_ssl_config_file=str(tmp_path / "asking")))


def test_a_router_knows_whether_a_port_asks_for_certificates(tmp_path: Path) -> None:
    """So that a file that comes later is judged as at the start."""
    (tmp_path / "a.yaml").write_text(CERTIFIED)
    write_ssl_config(tmp_path / "asking", Authority(), verify=True)
    door = FrontDoorSettings(access_file=str(tmp_path / "a.yaml"))

    assert "no port asks for one" in str(guard_of(door, lambda: 1).problems[0])
    assert guard_of(replace(door, ssl_config_file=str(tmp_path / "asking")), lambda: 1).problems == ()


def test_the_path_does_not_depend_on_the_folder_of_a_replica() -> None:
    """Replicas run elsewhere."""
    made = with_absolute_paths(ServerSettings(front_door=FrontDoorSettings(access_file="a.yaml")), "/etc/x")

    assert made.front_door.access_file == "/etc/x/a.yaml"


def test_check_config_knows_access_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By what is in them."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("clients:\n" + client_of("a", "infer"))
    bad.write_text("anyone: [{groups: [root]}]")

    assert check_config.main([str(good)]) == 0
    assert check_config.main([str(bad)]) == 1
    assert "anyone.0.groups.0: must be one of" in capsys.readouterr().out
