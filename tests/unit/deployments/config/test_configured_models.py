"""The list of models that settings lead to, from files and flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.extensions import TENSORFLOW
from core.config.model_config import BatchingParameters, LoggingConfig, ModelConfig, ModelResources
from core.config.parameter_files import BATCHING_WITHOUT_FILE
from core.config.server_settings import BatchingSettings, ModelSourceSettings, ServerSettings, SessionSettings
from core.errors import ConfigError
from deployments.config.configured_models import ConfiguredModels

LISTED = 'model_config_list { config { name: "m" base_path: "m" model_platform: "tensorflow" } }'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a list of models and a YAML file."""
    (tmp_path / "models.config").write_text(LISTED)
    (tmp_path / "s.yaml").write_text("models: {m: {num_replicas: 2}, n: {base_path: n}}")
    return tmp_path


def configured(folder: Path, **source: str) -> ConfiguredModels:
    """Return the models of a source whose relative paths are in a folder."""
    return ConfiguredModels(ServerSettings(source=ModelSourceSettings(relative_path_root=str(folder), **source)))


def test_models_come_from_a_file_from_flags_or_from_nowhere(folder: Path) -> None:
    """A file wins over flags; a server without models may get some at run time."""
    by_flags = {"model_name": "f", "model_base_path": "f"}
    file = str(folder / "models.config")

    assert configured(folder).models() == ()
    assert configured(folder, **by_flags).models() == (ModelConfig("f", f"{folder}/f"),)
    assert configured(folder, **by_flags, model_config_file=file).models() == (
        ModelConfig("m", f"{folder}/m", platform=TENSORFLOW),
    )


def test_the_yaml_file_completes_and_adds_models(folder: Path) -> None:
    """Its relative paths are those of models.config."""
    source = {"model_config_file": str(folder / "models.config"), "model_settings_file": str(folder / "s.yaml")}

    assert configured(folder, **source).models() == (
        ModelConfig("m", f"{folder}/m", resources=ModelResources(num_replicas=2), platform=TENSORFLOW),
        ModelConfig("n", f"{folder}/n"),
    )


def test_a_list_of_a_request_is_completed_by_the_yaml_file(folder: Path) -> None:
    """A reload gets its models too; a change takes only what a list cannot express."""
    models = configured(folder, model_settings_file=str(folder / "s.yaml"))
    requested = (ModelConfig("m", "/r", logging=(LoggingConfig(),)),)
    placed = (ModelConfig("m", "/r", resources=ModelResources(num_replicas=2), logging=(LoggingConfig(),)),)

    assert models.joined(requested) == (*placed, ModelConfig("n", f"{folder}/n"))
    assert models.placed(requested) == placed
    assert configured(folder).joined(requested) == configured(folder).placed(requested) == requested


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"model_name": "n", "model_base_path": "other"}, "the flags --model_name and --model_base_path"),
        ({"model_config_file": "listed"}, "models.config"),
    ],
)
def test_a_contradiction_names_where_the_model_came_from(folder: Path, source: dict[str, str], name: str) -> None:
    """Nobody who named a model by flags looks for a models.config; a request's list is neither."""
    listed = folder / "models.config"
    listed.write_text(LISTED.replace('"m"', '"n"', 1))
    files = {"model_config_file": str(listed)} if "model_config_file" in source else {}
    models = configured(folder, model_settings_file=str(folder / "s.yaml"), **(source | files))
    text = "models.n.base_path: differs from {}; set it in only one of the two"

    with pytest.raises(ConfigError) as by_start:
        models.models()
    with pytest.raises(ConfigError) as by_request:
        models.joined((ModelConfig("n", "/r"),))

    assert str(by_start.value).endswith(text.format(name))
    assert str(by_request.value).endswith(text.format("the list of the request"))
    assert models.warnings() == (f"{folder}/s.yaml:1: models.m: has no base_path and is not in {name}",)


def test_files_are_read_at_every_call(folder: Path) -> None:
    """A poll sees what is written meanwhile."""
    models = configured(folder, model_config_file=str(folder / "models.config"))
    before = models.models()
    (folder / "models.config").write_text(LISTED.replace('"m"', '"k"', 1))

    assert ([one.name for one in before], [one.name for one in models.models()]) == (["m"], ["k"])


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (BatchingSettings(), None),
        (BatchingSettings(enabled=True), BATCHING_WITHOUT_FILE),
        (BatchingSettings(enabled=True, parameters_file="b"), BatchingParameters(16)),
        (BatchingSettings(parameters_file="b"), None),
    ],
)
def test_batching_needs_the_flag_and_may_have_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: BatchingSettings, parameters: BatchingParameters | None
) -> None:
    """As in TensorFlow Serving."""
    monkeypatch.chdir(tmp_path)
    Path("b").write_text("max_batch_size { value: 16 }")

    assert ConfiguredModels(ServerSettings(batching=settings)).batching() == parameters


def test_a_check_reads_every_file(tmp_path: Path) -> None:
    """The start fails at once, not the first load."""
    missing = str(tmp_path / "missing")
    for settings in (
        ServerSettings(source=ModelSourceSettings(model_config_file=missing)),
        ServerSettings(source=ModelSourceSettings(model_settings_file=missing)),
        ServerSettings(batching=BatchingSettings(enabled=True, parameters_file=missing)),
        ServerSettings(session=SessionSettings(session_config_file=missing)),
    ):
        with pytest.raises(ConfigError, match="missing"):
            ConfiguredModels(settings).check()


def test_fields_of_the_session_file_without_effect_are_warned_of(tmp_path: Path) -> None:
    """With file and line."""
    file = tmp_path / "session"
    file.write_text("intra_op_parallelism_threads: 2")

    [warning] = ConfiguredModels(ServerSettings(session=SessionSettings(session_config_file=str(file)))).warnings()

    assert warning.startswith(f"{file}:1: intra_op_parallelism_threads: has no effect in this file")
