"""The unit for systemd fits the server: how it is stopped, how long that takes, when it is started again."""

from __future__ import annotations

import collections
import shutil
import subprocess
from pathlib import Path

from core.config.arguments import parse_flags
from core.config.server_settings import FrontDoorSettings
from deployments.launch.endings import FAILED_START
from tests.support.project import ROOT

UNIT = ROOT / "configs" / "systemd" / "ray_model_server.service"
PROGRAM = "/opt/ray_model_server/bin/ray_model_server"


def options() -> dict[str, list[str]]:
    """Return the values of each option, in their order."""
    found = collections.defaultdict(list)
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Where it is installed it says so; the program itself is not."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))
    analyze = shutil.which("systemd-analyze")
    checked = subprocess.run([analyze or "true", "verify", copy], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_unit_lets_the_server_drain() -> None:
    """SIGTERM goes to the supervisor, and SIGKILL not before the drain has had its time."""
    given = options()

    assert given["KillMode"] == ["mixed"]
    assert int(given["TimeoutStopSec"][0]) >= FrontDoorSettings().drain_timeout_s + 15
    assert (given["Type"], given["NotifyAccess"]) == (["notify"], ["all"]), "the process below the supervisor reports"


def test_the_unit_starts_what_failed_but_not_what_was_refused() -> None:
    """A wrong configuration does not become right by trying."""
    given = options()

    assert given["Restart"] == ["on-failure"]
    assert given["RestartPreventExitStatus"] == [str(FAILED_START)]


def test_the_flags_of_the_unit_are_the_servers() -> None:
    """Its command line is split at blanks."""
    given = options()
    [flags] = [one.strip('"').removeprefix("FLAGS=") for one in given["Environment"] if "FLAGS=" in one]

    assert given["ExecStart"] == [f"{PROGRAM} $FLAGS"]
    assert parse_flags(flags.split()).settings is not None
