"""The help of the program: commands first, flags on demand, a guess at what was meant."""

from __future__ import annotations

import sys

import pytest

from core.config.flag_table import FLAGS
from deployments.cli import UNKNOWN_COMMAND, main
from deployments.commands.command_help import FIRST_FLAGS
from deployments.commands.table import COMMANDS

MOST_LINES = 30
"""A screen."""


@pytest.mark.parametrize(("argument", "status"), [("help", 0), ("-h", 0), ("--help", 255)])
def test_help_fits_on_a_screen_and_begins_with_the_commands(
    argument: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--help` is a flag of TensorFlow Serving, and has its exit status."""
    assert main([argument]) == status

    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    commands = [number for number, line in enumerate(lines) if line.split()[:1] and line.split()[0] in COMMANDS]
    flags = [number for number, line in enumerate(lines) if line.startswith("  --")]
    assert (len(commands), len(flags), shown.err) == (len(COMMANDS), len(FIRST_FLAGS), "")
    assert max(commands) < min(flags)
    assert len(lines) <= MOST_LINES
    assert all(one.summary in shown.out for one in COMMANDS.values())


@pytest.mark.parametrize("arguments", [["--help-flags"], ["help", "flags"], ["help", "serve"]])
def test_all_flags_are_shown_on_demand(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With their defaults and meanings."""
    assert main(arguments) == 0

    shown = capsys.readouterr().out
    assert [name for name in FLAGS if f"--{name}=" not in shown] == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_a_command_is_its_own(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`help COMMAND` and `COMMAND --help` say the same."""
    with pytest.raises(SystemExit) as ended:
        main(["help", command])
    by_help = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([command, "--help"])

    assert ended.value.code == 0
    assert by_help == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["statsu"], "did you mean status?"),
        (["help", "lod"], "did you mean load?"),
        (["serve", "m"], "to run the server, give flags only"),
        (["list", "--json"], "did you mean status?"),
        (["rm", "m"], "did you mean unload?"),
        (["version"], "ray_model_server --version"),
        (["-v"], "ray_model_server --version"),
        (["/models/m"], "--model_base_path=/models/m"),
        (["frobnicate"], "ray_model_server help lists them"),
        (["help", "frobnicate"], "ray_model_server help lists them"),
        (["help", "--port"], "there is no help for --port"),
    ],
)
def test_a_word_that_is_not_a_command_ends_with_one_line_and_a_guess(
    arguments: list[str], guess: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody finds it above eighty lines of flags."""
    assert main(arguments) == UNKNOWN_COMMAND

    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert guess in shown.err


@pytest.mark.parametrize("stray", ["stray", "statsu", "-port=1", "--prot=1"])
def test_a_word_beside_flags_is_reported_as_tensorflow_serving_does(
    stray: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts all the same there; here the next mistake ends it."""
    assert main([stray, "--port=0"]) == 255

    assert capsys.readouterr().out.splitlines()[0] == f"unknown argument: {stray}"


def test_who_gives_nothing_is_told_where_the_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The first line and the status are TensorFlow Serving's."""
    assert main([]) == 255

    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        (
            "Failed to start server. Error: INVALID_ARGUMENT: Both server_options.model_base_path and "
            "server_options.model_config_file are empty!"
        )
    ]
    assert shown.err == "ray_model_server help shows the commands and the first flags.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["start"], ["-v"], ["frobnicate"], ["help"], ["help", "flags"], ["--help-flags"], ["--port=many"],
        ["--prt=1", "--port=0"],
    ],
)  # fmt: skip
def test_whoever_calls_the_program_by_its_other_name_reads_that_name(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an image made for TensorFlow Serving's users they know no other."""
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tensorflow_model_server", *arguments])

    main(arguments)

    shown = capsys.readouterr()
    assert "tensorflow_model_server" in shown.out + shown.err
    assert "ray_model_server" not in shown.out + shown.err
