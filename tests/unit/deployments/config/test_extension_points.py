"""Configurations name what packages register; a server whose configuration names nothing imports nothing of theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config.extensions import ANY, BUILT_IN_KINDS
from core.config.model_config import ModelConfig
from core.config.server_settings import ModelSourceSettings, ServerSettings
from core.config.version_policy import Latest, RegisteredPolicy
from core.errors import ConfigError
from deployments.config.configured_models import ConfiguredModels
from deployments.config.extension_points import extensions, source_problem
from tests.support.extension_packages import EXAMPLE_MODULE, install, install_example, on_path

BROKEN = {"platforms": "p", "log_collectors": "c", "version_policies": "v", "sources": "s"}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with the example, and a package of which everything is broken, on this process's path."""
    install_example(tmp_path)
    install(tmp_path, "broken", {point: {name: "no_such_module:X"} for point, name in BROKEN.items()})
    with on_path(tmp_path):
        yield tmp_path


def models_of(folder: Path, yaml: str, listed: str = "") -> tuple[ModelConfig, ...]:
    """Read a settings file, and a models.config if there is one."""
    (folder / "s.yaml").write_text(yaml)
    (folder / "models.config").write_text(listed)
    source = ModelSourceSettings(
        model_settings_file=str(folder / "s.yaml"), model_config_file=str(folder / "models.config") if listed else ""
    )
    return ConfiguredModels(ServerSettings(source=source)).models()


def imported() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == EXAMPLE_MODULE]


def test_a_configuration_without_extensions_imports_none(folder: Path) -> None:
    """Neither do models whose platform is not said, collectors that are built in, or URLs of known schemes."""
    log = "{collector: json_lines, filename_prefix: /logs/m, sampling_rate: 1}"
    models_of(folder, f"models: {{m: {{base_path: 's3://b/m', version_policy: all, platform: any, logging: {log}}}}}")

    assert extensions().platform("any") == ANY
    assert imported() == []


def test_a_configuration_names_extensions(folder: Path) -> None:
    """Platform, collector and policy become part of the model."""
    (model,) = models_of(
        folder,
        """
models:
  m:
    base_path: zip+file:///srv/models.zip/m
    platform: multiply
    version_policy: {newest_of_each_major: {majors: 1}}
    logging: {collector: csv, filename_prefix: anywhere, sampling_rate: 1}
""",
    )

    assert (model.platform.name, model.platform.files) == ("multiply", ("factor.txt",))
    assert model.policy == RegisteredPolicy("newest_of_each_major", '{"majors": 1}')
    assert model.policy.select(frozenset({10001, 10002, 20001})) == {20001}
    assert model.logging[0].collector == "csv"
    assert source_problem(model.base_path) == ""


def test_models_config_names_platforms_and_collectors(folder: Path) -> None:
    """TensorFlow Serving's format has fields for both."""
    (model,) = models_of(
        folder,
        "models: {}",
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "multiply" logging_config { '
        'log_collector_config { type: "csv" filename_prefix: "x" } sampling_config { sampling_rate: 1 } } } }',
    )

    assert (model.platform.name, model.logging[0].collector, model.policy) == ("multiply", "csv", Latest())


def test_a_broken_extension_is_a_mistake_with_its_reason_and_line(folder: Path) -> None:
    """An operator learns that the name is right and the package is not."""
    with pytest.raises(ConfigError) as caught:
        models_of(
            folder,
            "models:\n  m:\n    base_path: /m\n    platform: p\n    version_policy: v\n    logging: {collector: c}\n",
        )

    assert [(one.line, one.field) for one in caught.value.problems] == [
        (4, "models.m.platform"),
        (5, "models.m.version_policy"),
        (6, "models.m.logging.collector"),
    ]
    for one in caught.value.problems:
        assert "package broken 1.0 registers it as no_such_module:X, which cannot be imported" in one.message


def test_a_broken_extension_in_models_config_too(folder: Path) -> None:
    """TensorFlow Serving's own text comes first."""
    with pytest.raises(ConfigError, match=r"requests unsupported platform p: package broken 1.0 registers it as"):
        models_of(
            folder, "models: {}", 'model_config_list { config { name: "m" base_path: "/m" model_platform: "p" } }'
        )


def test_a_broken_source_has_its_reason() -> None:
    """URLs of schemes that nobody registers are fsspec's to judge."""
    assert source_problem("nowhere://x/m") == ""
    assert source_problem("/srv/m") == ""


def test_a_broken_source_has_a_reason(folder: Path) -> None:
    """It names the URL."""
    assert source_problem("s://x/m").startswith("s://x/m: there is no source for s:// now: package broken 1.0")


def test_all_names_are_shown_where_one_is_wrong(folder: Path) -> None:
    """A misspelt name is next to the right one."""
    with pytest.raises(ConfigError) as caught:
        models_of(folder, "models: {m: {base_path: /m, platform: multiplie, version_policy: lates}}")

    platform, policy = (one.message for one in caught.value.problems)
    assert platform == f"is not a platform: multiplie; there are {', '.join(BUILT_IN_KINDS)}, multiply, p, any"
    assert policy == "must be one of latest, all, newest_of_each_major, v"


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("{newest_of_each_major: {majors: 0}}", "ValueError: digits and majors are at least 1"),
        ("{newest_of_each_major: {colour: red}}", "TypeError"),
        ("{newest_of_each_major: {majors: two}}", "TypeError"),
        ("{newest_of_each_major: [1]}", "must be a mapping of names to values"),
        ("{newest_of_each_major: {}, all: true}", "unknown setting"),
    ],
)
def test_arguments_that_a_policy_refuses_are_a_mistake(folder: Path, policy: str, text: str) -> None:
    """The line is that of the policy."""
    with pytest.raises(ConfigError) as caught:
        models_of(folder, f"models:\n  m:\n    base_path: /m\n    version_policy: {policy}\n")

    (problem,) = caught.value.problems
    assert problem.line == 4
    assert text in problem.message


@pytest.mark.parametrize("policy", ["newest_of_each_major", "{newest_of_each_major: }", "{newest_of_each_major: {}}"])
def test_a_policy_without_arguments_has_its_defaults(folder: Path, policy: str) -> None:
    """Its name alone is enough."""
    (model,) = models_of(folder, f"models: {{m: {{base_path: /m, version_policy: {policy}}}}}")

    assert model.policy == RegisteredPolicy("newest_of_each_major")
    assert model.policy.select(frozenset({1, 2, 10003, 20004})) == {10003, 20004}
