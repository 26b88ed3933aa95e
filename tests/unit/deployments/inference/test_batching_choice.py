"""Whose batching parameters a version runs with: its model's, those beside it, or the server's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from core.config.model_config import BatchingParameters, ModelConfig
from core.config.server_settings import BatchingSettings, ServerSettings
from core.errors import Code
from core.versions.load_report import LoadFailed
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from deployments.config.configured_models import ConfiguredModels
from deployments.inference.assembly import PER_MODEL_PARAMETERS, _batching

SERVER = BatchingParameters(100, num_batch_threads=3, thread_pool_name="pool")
BESIDE = "max_batch_size { value: 7 } num_batch_threads { value: 9 }"


def chosen(
    version: Path, batching: BatchingSettings, server: BatchingParameters | None, own: BatchingParameters | None = None
) -> BatchingParameters | None:
    """Choose as a model server does, with what the watcher sends it."""
    config = ModelConfig("m", str(version.parent), batching=own)
    settings = ServerSettings(batching=batching)
    return _batching(ServableSpec(ServableId("m", 1), str(version), settings, config, own or server))


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version with parameters of its own."""
    (tmp_path / PER_MODEL_PARAMETERS).write_text(BESIDE)
    return tmp_path


def test_case_N19_without_the_flag_the_servers_parameters_count(version) -> None:
    """The file beside the version is not looked at, nor without batching at all."""
    assert chosen(version, BatchingSettings(enabled=True), SERVER) == SERVER
    assert chosen(version, BatchingSettings(), None) is None
    assert chosen(version, BatchingSettings(per_model=True), None) is None


def test_case_N19_with_the_flag_the_file_beside_the_version_counts(version) -> None:
    """Except for the threads, which the server's parameters say."""
    parameters = chosen(version, BatchingSettings(enabled=True, per_model=True), SERVER)

    assert parameters == BatchingParameters(7, num_batch_threads=3, thread_pool_name="pool")


def test_case_N19_with_the_flag_and_without_a_file_there_is_no_batching(tmp_path) -> None:
    """And no error."""
    assert chosen(tmp_path, BatchingSettings(enabled=True, per_model=True), SERVER) is None


@pytest.mark.parametrize("per_model", [False, True])
def test_what_the_yaml_file_says_of_a_model_counts_before_all(version, per_model) -> None:
    """With or without the flags."""
    own = BatchingParameters(5)

    assert chosen(version, BatchingSettings(enabled=per_model, per_model=per_model), SERVER, own) is own


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "max_batch_size { value: 2 } allowed_batch_sizes: [1, 3]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; expected 2",
            id="case_N17",
        ),
        pytest.param(
            "max_batch_size { value: 4 } allowed_batch_sizes: [2, 8]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 4",
            id="case_N13",
        ),
        pytest.param("max_batch_size 2", "1", id="syntax"),
    ],
)
def test_a_broken_file_beside_a_version_is_a_failed_load(tmp_path, text, message) -> None:
    """The version never becomes available, and its status says why."""
    (tmp_path / PER_MODEL_PARAMETERS).write_text(text)

    with pytest.raises(LoadFailed) as raised:
        chosen(tmp_path, BatchingSettings(enabled=True, per_model=True), SERVER)

    assert raised.value.args[0] is Code.INVALID_ARGUMENT
    assert message in str(raised.value)


def test_a_file_beside_a_version_that_is_no_text_is_a_failed_load(tmp_path) -> None:
    """Not an endless start."""
    (tmp_path / PER_MODEL_PARAMETERS).write_bytes(b"\xff\xfe")

    with pytest.raises(LoadFailed, match="UnicodeDecodeError"):
        chosen(tmp_path, BatchingSettings(enabled=True, per_model=True), SERVER)


def test_the_servers_parameters_are_read_for_parameters_beside_versions_too(tmp_path) -> None:
    """Their threads count; without batching nothing is read."""
    file = tmp_path / "batching.config"
    file.write_text("num_batch_threads { value: 3 }")
    batching = BatchingSettings(enabled=True, parameters_file=str(file), per_model=True)

    def read(settings: BatchingSettings) -> BatchingParameters | None:
        return ConfiguredModels(ServerSettings(batching=settings)).batching()

    assert read(batching) == BatchingParameters(num_batch_threads=3)
    assert read(dataclasses.replace(batching, parameters_file="")).thread_pool_name == "model_server_batch_threads"
    assert read(dataclasses.replace(batching, enabled=False)) is None
