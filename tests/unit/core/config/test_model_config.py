"""Configuration values travel between processes and keep secrets to themselves."""

from __future__ import annotations

import pickle

import pytest

from core.config.extensions import LOG_FORMATS, LogFormat
from core.config.model_config import (
    Autoscaling,
    BatchingParameters,
    ModelConfig,
    ModelResources,
    collector_problems,
)
from core.config.parameter_files import SslConfig
from core.config.server_settings import ServerSettings
from core.config.version_policy import Specific


def test_values_survive_the_trip_to_another_process() -> None:
    """Ray pickles them."""
    model = ModelConfig("m", "/m", Specific(frozenset({1})), {"stable": 1}, ModelResources(autoscaling=Autoscaling()))

    assert pickle.loads(pickle.dumps((model, ServerSettings()))) == (model, ServerSettings())


def test_the_private_key_is_not_printed() -> None:
    """Settings end up in logs."""
    assert "secret" not in repr(SslConfig(server_key="secret"))


def test_execution_batch_size_is_the_limit_that_applies() -> None:
    """`max_execution_batch_size` counts only with splitting, and falls back to `max_batch_size`."""
    assert BatchingParameters(max_batch_size=8, max_execution_batch_size=4).execution_batch_size == 8
    assert BatchingParameters(max_batch_size=8, enable_large_batch_splitting=True).execution_batch_size == 8
    splitting = BatchingParameters(max_batch_size=8, max_execution_batch_size=4, enable_large_batch_splitting=True)
    assert splitting.execution_batch_size == 4


def test_parameters_beside_a_version_run_on_the_servers_threads() -> None:
    """What is said of threads counts for the whole server only."""
    beside = BatchingParameters(max_batch_size=8, num_batch_threads=1, thread_pool_name="own")
    server = BatchingParameters(max_batch_size=9, num_batch_threads=3, thread_pool_name="pool")

    assert beside.on_threads_of(server) == BatchingParameters(8, num_batch_threads=3, thread_pool_name="pool")
    assert beside.on_threads_of(None) == beside


def test_requests_at_a_time_are_those_that_run_and_those_that_wait() -> None:
    """Of one row each, in full batches."""
    assert BatchingParameters(8, num_batch_threads=2, max_enqueued_batches=3).requests_at_a_time(cpus=9) == 40
    assert BatchingParameters(8, max_enqueued_batches=0).requests_at_a_time(cpus=4) == 40


NOT_ABSOLUTE = "must be an absolute path or a URI; was {!r}"


@pytest.mark.parametrize(
    ("kind", "form"),
    [("", LogFormat.TF_RECORD), ("tf_record", LogFormat.TF_RECORD), ("json_lines", LogFormat.JSON_LINES)],
)
def test_a_type_has_a_format(kind: str, form: LogFormat) -> None:
    """An empty type is TensorFlow Serving's default."""
    assert LOG_FORMATS[kind] is form
    assert list(collector_problems(kind, "/logs/m", logs=True)) == []


@pytest.mark.parametrize("prefix", ["/logs/m", "s3://bucket/m", "gs://bucket", "memory://m"])
def test_a_destination_is_an_absolute_path_or_a_uri(prefix: str) -> None:
    """Model servers run in other folders than the console script."""
    assert list(collector_problems("", prefix, logs=True)) == []


@pytest.mark.parametrize("prefix", ["", "logs/m", "./m", "~/m", ":/m", "3s://m"])
def test_any_other_destination_is_a_mistake(prefix: str) -> None:
    """It would lead somewhere else in each process."""
    assert list(collector_problems("", prefix, logs=True)) == [("filename_prefix", NOT_ABSOLUTE.format(prefix))]


def test_a_log_without_samples_needs_no_destination() -> None:
    """TensorFlow Serving accepts one as well."""
    assert list(collector_problems("", "", logs=False)) == []


def test_an_unknown_type_has_tensorflow_servings_text() -> None:
    """Whether the log samples requests or not; both mistakes are reported at once."""
    unknown = ("type", "Cannot find LogCollector::Factory for type: kafka")

    assert list(collector_problems("kafka", "", logs=False)) == [unknown]
    assert list(collector_problems("kafka", "m", logs=True)) == [unknown, ("filename_prefix", NOT_ABSOLUTE.format("m"))]
