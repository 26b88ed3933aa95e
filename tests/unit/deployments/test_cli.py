"""The console script picks a subcommand by its first argument, or runs the server."""

from __future__ import annotations

import json
import sys

import pytest

from deployments.cli import FAILED, UNKNOWN_COMMAND, main
from deployments.commands import check_config, serve
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


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("/usr/bin/tensorflow_model_server", "tensorflow_model_server"),
        ("ray_model_server", "ray_model_server"),
        ("/x/__main__.py", "ray_model_server"),
    ],
)
def test_messages_name_the_command_as_it_was_called(
    called: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knows it by TensorFlow Serving's name can repeat what he reads."""
    monkeypatch.setattr(sys, "argv", [called])

    main(["statsu"])
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    main(["--help"])

    shown = capsys.readouterr()
    assert shown.err.startswith(f"{named}: there is no command statsu")
    assert shown.out.startswith(f"usage: {named} status ")
    assert f"usage: {named} --model_base_path=PATH" in shown.out


def test_anything_else_is_the_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """TensorFlow Serving's flags begin with a dash."""
    assert main(["--version"]) == 0

    assert capsys.readouterr().out.startswith("Ray Model Server: ")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_defect_of_a_command_is_one_line_or_one_document(
    as_json: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not a traceback, which says nothing to its reader, and not JSON that cannot be parsed."""
    monkeypatch.setattr(check_config, "_checked", lambda *_: {}["odd"])

    assert main(["check-config", "file", *(["--json"] if as_json else [])]) == FAILED

    shown = capsys.readouterr()
    if as_json:
        assert json.loads(shown.out)["error"]["code"] == "INTERNAL"
    else:
        assert shown.err.startswith("ray_model_server check-config: INTERNAL: KeyError: 'odd'")
        assert shown.err.count("\n") == 1


def test_a_defect_before_the_start_is_a_failed_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one in the reading of flags."""
    monkeypatch.setattr(serve, "parse_arguments", lambda *_: {}["odd"])

    assert main(["--port=1"]) == 255

    assert capsys.readouterr().out.startswith("Failed to start server. Error: INTERNAL: KeyError: 'odd'")
