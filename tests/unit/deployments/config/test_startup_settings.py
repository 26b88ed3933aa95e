"""Settings at the start: flags, those of the YAML file, absolute paths, and the checks of every file."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from core.config.arguments import ArgumentsOutcome
from core.config.server_settings import MonitoringConfig, ServerSettings
from core.errors import ConfigError, FailedPrecondition
from deployments.config.startup_settings import checked, monitoring, parse_arguments, with_absolute_paths

MODELS = 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" %s } }'


def settings_of(*arguments: str) -> ServerSettings:
    """Return the settings of arguments that are right."""
    parsed = parse_arguments(arguments)
    assert parsed.settings is not None, parsed
    return parsed.settings


def test_flags_of_the_yaml_file_apply_where_the_command_line_gives_none(tmp_path: Path) -> None:
    """The command line wins."""
    file = tmp_path / "s.yaml"
    file.write_text("server: {rest_api_port: 1, port: 2, model_base_path: /m}")

    settings = settings_of(f"--model_settings_file={file}", "--port=3")

    assert (settings.front_door.rest_port, settings.front_door.grpc_port) == (1, 3)
    assert settings.source.model_base_path == "/m"


def test_mistakes_of_the_yaml_file_are_problems_without_an_output(tmp_path: Path) -> None:
    """The console script prints them as it prints those of other files."""
    file = tmp_path / "s.yaml"
    file.write_text("server:\n  rest_api_prt: 1")

    parsed = parse_arguments([f"--model_settings_file={file}", "--model_base_path=/m"])

    assert (parsed.settings, parsed.output) == (None, "")
    assert [str(one) for one in parsed.problems] == [
        f"{file}:2: server.rest_api_prt: unknown setting; did you mean rest_api_port?"
    ]


def test_without_a_yaml_file_flags_stand_alone() -> None:
    """No file is read."""
    assert parse_arguments(["--model_base_path=/m"]).outcome is ArgumentsOutcome.START
    assert parse_arguments(["--help"]).outcome is ArgumentsOutcome.HELP


def with_every_file(value: str) -> ServerSettings:
    """Return settings in which every field that names a file or folder has a value."""
    settings = ServerSettings()
    changed = {
        group.name: replace(
            getattr(settings, group.name), **dict.fromkeys(file_fields(getattr(settings, group.name)), value)
        )
        for group in fields(settings)
    }
    return replace(settings, **changed)


def file_fields(group: object) -> list[str]:
    """Return the names of the fields of a group that replicas read files by."""
    names = [one.name for one in fields(group)]
    return [one for one in names if one.endswith(("_file", "_root")) or one == "folder"]


def test_every_file_is_named_by_an_absolute_path() -> None:
    """Replicas run in other folders."""
    settings = with_absolute_paths(with_every_file("a/../b"), "/srv")
    named = [getattr(group, one) for group in groups(settings) for one in file_fields(group)]

    assert len(named) >= 9
    assert set(named) == {"/srv/b"}


def groups(settings: ServerSettings) -> list[object]:
    return [getattr(settings, one.name) for one in fields(settings)]


@pytest.mark.parametrize("value", ["", "/b", "s3://bucket/b"])
def test_absolute_paths_urls_and_missing_files_stay(value: str) -> None:
    """They mean the same everywhere."""
    assert with_absolute_paths(with_every_file(value), "/srv") == with_every_file(value)


@pytest.mark.parametrize(
    "flag",
    [
        *("model_config_file", "ssl_config_file", "rest_api_ssl_config_file"),
        *("monitoring_config_file", "tensorflow_session_config_file", "batching_parameters_file"),
    ],
)
def test_every_file_is_checked_at_the_start(tmp_path: Path, flag: str) -> None:
    """A server with a broken file does not start."""
    broken = tmp_path / "broken"
    broken.write_text("no_such_field: {")
    settings = settings_of("--model_base_path=/m", "--rest_api_port=1", "--enable_batching", f"--{flag}={broken}")

    with pytest.raises(ConfigError, match="broken"):
        checked(settings)


def test_strict_labels_are_checked_at_the_start(tmp_path: Path) -> None:
    """No version answers yet, so a label has nothing to name."""
    file = tmp_path / "models.config"
    file.write_text(MODELS % 'version_labels { key: "a" value: 1 }')

    assert checked(settings_of(f"--model_config_file={file}"))[1] == ()
    with pytest.raises(FailedPrecondition, match="label"):
        checked(settings_of(f"--model_config_file={file}", "--strict_version_labels"))


def test_relative_paths_are_those_of_the_folder_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person means them."""
    (tmp_path / "models.config").write_text(MODELS % "")
    monkeypatch.chdir(tmp_path)

    settings, _ = checked(settings_of("--model_config_file=models.config"))

    assert settings.source.model_config_file == str(tmp_path / "models.config")


def test_warnings_name_what_has_no_effect(tmp_path: Path) -> None:
    """A model of the YAML file that is listed nowhere, for example."""
    file = tmp_path / "s.yaml"
    file.write_text("models: {x: {num_cpus: 1}}")

    _, [warning] = checked(settings_of("--model_base_path=/m", f"--model_settings_file={file}"))

    assert warning == f"{file}:1: models.x: has no base_path and is not in the flags --model_name and --model_base_path"


def test_the_page_with_metrics_is_at_its_usual_path_without_a_file() -> None:
    """Our default; TensorFlow Serving has none without a file."""
    assert monitoring(ServerSettings()) == MonitoringConfig()
