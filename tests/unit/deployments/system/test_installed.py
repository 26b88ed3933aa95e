"""Installed versions."""

from __future__ import annotations

import tomllib

from deployments.system.installed import server_version
from tests.support.project import ROOT


def test_the_version_is_that_of_the_project() -> None:
    """The status page, traces and `--version` show it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert server_version() == project["version"]
