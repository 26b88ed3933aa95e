"""Arguments that all commands share: addresses, help, and mistakes."""

from __future__ import annotations

import pytest

from deployments.cli import main
from deployments.commands import label as command_label
from deployments.commands import load as command_load
from deployments.commands import profile as command_profile
from deployments.commands import status as command_status
from deployments.commands import unload as command_unload
from deployments.commands.arguments import target


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("localhost", "localhost:8500"),
        ("host:1", "host:1"),
        ("10.0.0.7", "10.0.0.7:8500"),
        ("::1", "[::1]:8500"),
        ("[::1]", "[::1]:8500"),
        ("[::1]:1", "[::1]:1"),
        ("unix:/s", "unix:/s"),
        ("/s", "unix:/s"),
    ],
)
def test_addresses_are_completed(given: str, expected: str) -> None:
    """The port is the server's own default."""
    assert target(given) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["label", "m"],
        ["label", "m", "a"],
        ["label", "m", "a", "1", "--remove", "b"],
        ["label", "m", "a", "x"],
        ["label", "m", "a", "-1"],
        ["load", "m", str(2**63)],
        ["load", "m", "1", "--policy", "all"],
        ["load", "m", "--policy", "newest"],
        ["load", "m", "--policy", "latest:0"],
        ["load", "m", "--policy", "latest:"],
        ["unload"],
        ["status", "a", "b"],
        ["check-config"],
        ["profile"],
        ["profile", "m", "--version", "1", "--label", "a"],
        ["profile", "m", "--seconds", "x"],
        ["lode", "m"],
    ],
)
def test_wrong_arguments_end_with_status_2_and_a_hint(arguments: list[str], capsys) -> None:
    """No server is asked."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code

    assert status == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize("command", [command_status, command_label, command_load, command_unload, command_profile])
def test_every_command_explains_itself(command, capsys) -> None:
    """With examples and exit statuses."""
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])

    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert "examples:" in printed
    assert "exit status: 0 done" in printed


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(
            ["load", "m", "--policy", "latest:4294967296"], "is not one of latest, latest:COUNT, all", id="count"
        ),
        pytest.param(["load", "m", "--policy", "latest:0"], "is not one of latest, latest:COUNT, all", id="no_version"),
        pytest.param(["load", "m", "1", "--timeout", "nan"], "nan is not a number of seconds", id="nan"),
        pytest.param(["unload", "m", "--timeout", "-1"], "-1 is not a number of seconds", id="negative"),
        pytest.param(["unload", "m", "--timeout", "soon"], "soon is not a number of seconds", id="word"),
        pytest.param(["load", "\udcff", "--base-path", "/m"], r"'\udcff' is not UTF-8", id="model"),
        pytest.param(["load", "n", "--base-path", "/\udcff"], r"'/\udcff' is not UTF-8", id="base_path"),
        pytest.param(["label", "m", "\udcff", "2"], r"'\udcff' is not UTF-8", id="label"),
        pytest.param(["profile", "m", "--label", "\udcff"], r"'\udcff' is not UTF-8", id="profiled_label"),
    ],
)
def test_what_no_message_can_hold_is_a_wrong_argument(arguments: list[str], reason: str, capsys) -> None:
    """It is reported before any server is asked, and nothing waits for a time that never comes."""
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--server", "127.0.0.1:1"])

    assert caught.value.code == 2
    assert reason in capsys.readouterr().err
