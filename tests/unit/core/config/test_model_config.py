"""Configuration values travel between processes and keep secrets to themselves."""

from __future__ import annotations

import pickle

from core.config.model_config import Autoscaling, BatchingParameters, ModelConfig, ModelResources
from core.config.server_settings import ServerSettings, SslConfig
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
