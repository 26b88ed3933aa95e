"""What a start that cannot succeed says, and which flags count when our YAML file holds some too."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from core.config.arguments import ArgumentsOutcome
from deployments.commands.serve import main
from deployments.config.startup_settings import parse_arguments
from tests.support.extension_packages import EXAMPLE_MODULE, install_example, on_path

FAILED = 255


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param([], "Both server_options.model_base_path and server_options.model_config_file are empty!",
                     id="flags"),
        pytest.param(["--model_base_path=m"], "to have an absolute path or URI; got base_path()=m", id="model"),
        pytest.param(["--model_settings_file=/nowhere.yaml"], "/nowhere.yaml: cannot be read", id="settings_file"),
        pytest.param(["--model_settings_file=/nowhere.yaml", "--port=0"], "/nowhere.yaml: cannot be read",
                     id="settings_file_and_flags"),
    ],
)  # fmt: skip
def test_a_failed_start_says_why_once(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, as TensorFlow Serving does."""
    assert main(arguments) == FAILED

    printed = capsys.readouterr().out
    assert printed.count("Failed to start server. Error: INVALID_ARGUMENT: ") == 1
    assert printed.count(reason) == 1


def test_flags_are_judged_together_with_those_of_the_settings_file(tmp_path: Path) -> None:
    """What makes no sense alone may be completed there, whichever of the two stands on the command line."""
    file = tmp_path / "settings.yaml"
    file.write_text("server: {model_base_path: /m, enable_batching: true, grpc_socket_path: /run/grpc}\n")

    parsed = parse_arguments([f"--model_settings_file={file}", "--batching_parameters_file=/b.config", "--port=0"])

    assert parsed.outcome is ArgumentsOutcome.START
    assert parsed.settings is not None
    assert parsed.settings.batching.enabled
    assert parsed.settings.front_door.grpc_socket_path == "/run/grpc"


def test_a_refusal_tells_flags_that_were_understood_from_those_that_are_unknown() -> None:
    """In a config of Ray Serve unknown ones are mistakes; the others must not be taken for some."""
    parsed = parse_arguments(["--port=0", "--model_base_path=/m", "--prot=1"])

    assert parsed.outcome is ArgumentsOutcome.REFUSED
    assert set(parsed.given) == {"port", "model_base_path"}


def test_the_version_lists_what_packages_register(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the packages, and without importing them."""
    install_example(tmp_path)
    with on_path(tmp_path):
        assert main(["--version"]) == 0
        assert not [name for name in sys.modules if name.startswith(EXAMPLE_MODULE)]

    assert capsys.readouterr().out.splitlines()[2:] == [
        f"Extension: {extension}: package example-extension 1.0"
        for extension in (
            "platforms multiply",
            "sources zip+file",
            "log_collectors csv",
            "version_policies newest_of_each_major",
        )
    ]


def test_a_settings_file_may_name_what_packages_register(tmp_path: Path) -> None:
    """It is read for its flags first."""
    install_example(tmp_path)
    file = tmp_path / "s.yaml"
    file.write_text("models: {m: {base_path: /m, platform: multiply}}\nserver: {rest_api_port: 8501}\n")

    with on_path(tmp_path):
        parsed = parse_arguments([f"--model_settings_file={file}"])

    assert parsed.problems == ()
    assert parsed.settings is not None
