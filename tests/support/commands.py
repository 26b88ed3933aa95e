"""Commands that run against a server in this process, for their tests."""

from __future__ import annotations

import pytest

from core.versions.lifecycle import State
from deployments.cli import main
from tests.support.admin_server import AdminServer


def run(live: AdminServer, *arguments: str) -> int:
    return main([*arguments, "--server", live.address])


def done(live: AdminServer, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must succeed; returns its output."""
    status = run(live, *arguments)
    printed = capsys.readouterr()
    assert status == 0, printed
    return printed.out


def in_force(live: AdminServer):
    found = live.site.watch.configuration.in_force()
    assert found is not None
    return {one.name: one for one in found.models}


def state(live: AdminServer, version: int, model: str = "m") -> State:
    return live.site.router.table.models[model].histories[version].state
