"""The console script picks a subcommand by its first argument, or runs the server."""

from __future__ import annotations

import pytest

from deployments.cli import UNKNOWN_COMMAND, main
from deployments.commands.table import COMMANDS


@pytest.mark.parametrize(("given", "meant"), [("statsu", "status"), ("lable", "label"), ("unlaod", "unload")])
def test_a_misspelt_command_is_not_taken_for_the_servers_flags(
    given: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server would start, or complain about flags that nobody gave."""
    assert main([given]) == UNKNOWN_COMMAND

    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_of_the_table_is_found(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its module is imported only now."""
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    assert ended.value.code == 0
    assert f"ray_model_server {command}" in capsys.readouterr().out


def test_anything_else_is_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """TensorFlow Serving's flags begin with a dash."""
    assert main(["--version"]) == 0

    assert capsys.readouterr().out.startswith("Ray Model Server: ")
