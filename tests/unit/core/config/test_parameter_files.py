"""Batching, monitoring and certificates as text files."""

from __future__ import annotations

import pytest

from core.config.model_config import BatchingParameters
from core.config.parameter_files import (
    BATCHING_WITHOUT_FILE,
    SslConfig,
    batching_parameters,
    monitoring_config,
    ssl_config,
)
from core.config.server_settings import MonitoringConfig
from core.errors import ConfigError

PEM = "-----BEGIN CERTIFICATE-----"


def problems_of(text: str) -> list[tuple[int | None, str, str]]:
    """Return line, field and text of every mistake in batching parameters."""
    with pytest.raises(ConfigError) as raised:
        batching_parameters(text, "b")
    return [(problem.line, problem.field, problem.message) for problem in raised.value.problems]


def test_batching_parameters_are_read() -> None:
    """Wrapped and plain fields both arrive."""
    text = """
      max_batch_size { value: 128 } batch_timeout_micros { value: 100 } max_enqueued_batches { value: 0 }
      num_batch_threads { value: 4 } thread_pool_name { value: "pool" } allowed_batch_sizes: [32, 128]
      pad_variable_length_inputs: true
    """

    assert batching_parameters(text) == BatchingParameters(
        128, 100, 0, 4, "pool", (32, 128), pad_variable_length_inputs=True
    )


def test_the_pool_has_another_name_without_a_file() -> None:
    """The name shows in metrics."""
    assert BATCHING_WITHOUT_FILE.thread_pool_name == "model_server_batch_threads"
    assert batching_parameters("# all defaults").thread_pool_name == "batch_threads"


def test_splitting_has_its_own_limits() -> None:
    """The padded sizes may end at either limit when large requests are split."""
    text = (
        "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 }"
    )

    assert batching_parameters(f"{text} allowed_batch_sizes: [2, 4]").execution_batch_size == 4
    assert batching_parameters(f"{text} allowed_batch_sizes: [2, 8]").allowed_batch_sizes == (2, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "max_batch_size { value: 2 } allowed_batch_sizes: 1 allowed_batch_sizes: 3",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; expected 2",
            id="case_N17",
        ),
        pytest.param(
            "allowed_batch_sizes: 3",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 3; expected 1000",
            id="case_N17_default",
        ),
        pytest.param(
            "max_batch_size { value: 4 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 3 } allowed_batch_sizes: [2, 8]",
            "Last entry in allowed_batch_sizes must match max_batch_size or max_execution_batch_size; "
            "last entry was 8; expected 4 or 3",
            id="case_N13_splitting",
        ),
        pytest.param("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0", id="size"),
        pytest.param(
            "batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1", id="timeout"
        ),
        pytest.param(
            "max_enqueued_batches { value: 0 } enable_large_batch_splitting { value: true }",
            "max_enqueued_batches must be positive; was 0",
            id="queue",
        ),
        pytest.param("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0", id="threads"),
        pytest.param(
            "max_batch_size { value: 4 } allowed_batch_sizes: [3, 3, 4]",
            "allowed_batch_sizes must be positive and increasing; was [3, 3, 4]",
            id="not_increasing",
        ),
        pytest.param(
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 0 }",
            "max_execution_batch_size must be positive; was 0",
            id="execution_size",
        ),
    ],
)
def test_batching_mistakes_have_tensorflow_servings_texts(text: str, message: str) -> None:
    """Limits that cannot work are refused when the file is read."""
    assert [found for _, _, found in problems_of(text)] == [message]


def test_an_execution_limit_above_the_request_limit_is_refused() -> None:
    """Splitting makes batches smaller, never larger."""
    text = (
        "max_batch_size { value: 2 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 3 }"
    )
    expected = "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "

    assert problems_of(text)[0][2].startswith(f"{expected}max_execution_batch_size.")


def test_all_batching_mistakes_come_at_once_with_their_lines() -> None:
    """Each is found at its field."""
    found = problems_of("max_batch_size { value: 0 }\nnum_batch_threads { value: -2 }")

    assert [(line, field) for line, field, _ in found] == [(1, "max_batch_size"), (2, "num_batch_threads")]


def test_monitoring_config_is_read() -> None:
    """The page is off unless the file switches it on, and has a usual path."""
    assert monitoring_config("prometheus_config { enable: true path: '/metrics' }") == MonitoringConfig(
        prometheus_path="/metrics"
    )
    assert monitoring_config("prometheus_config { }") == MonitoringConfig(prometheus_enabled=False)
    with pytest.raises(ConfigError, match=r"m:2: prometheus_config\.path: The path must start with /; was x"):
        monitoring_config("prometheus_config {\n path: 'x' }", "m")


def test_certificates_are_read() -> None:
    """The file holds PEM texts."""
    text = f"server_key: '{PEM}' server_cert: '{PEM}' custom_ca: '{PEM}' client_verify: true"

    assert ssl_config(text) == SslConfig(PEM, PEM, PEM, client_verify=True)
    assert ssl_config(f"server_key: '{PEM}' server_cert: '{PEM}'") == SslConfig(PEM, PEM)


def test_certificates_that_are_missing_or_file_names_are_refused() -> None:
    """The usual mistake is to name a file; both keys are needed, and a root to verify clients with."""
    with pytest.raises(ConfigError) as raised:
        ssl_config("server_key: '/etc/key.pem'\nclient_verify: true", "ssl")

    assert [problem.field for problem in raised.value.problems] == ["server_key", "server_cert", "custom_ca"]
