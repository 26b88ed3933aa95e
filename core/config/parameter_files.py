"""Reads the smaller protobuf text files: batching, monitoring, certificates; and batching in our YAML."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from core.config.model_config import BatchingParameters
from core.config.server_settings import MonitoringConfig
from core.errors import Problem
from core.formats.text_format import checked_message
from core.formats.text_outline import Outline
from core.formats.yaml_reading import Reader, YamlEntry, each, flag, section, text, whole
from core.protos import model_config_pb2

DEFAULT_METRICS_PATH = MonitoringConfig().prometheus_path
BATCHING_WITHOUT_FILE = BatchingParameters(thread_pool_name="model_server_batch_threads")


@dataclass(frozen=True, slots=True)
class SslConfig:
    """Certificates of the front door, as PEM texts (TensorFlow Serving, SSLConfig)."""

    server_key: str = field(default="", repr=False)
    """Private key of the server."""

    server_cert: str = ""
    """Certificate of the server, with its chain."""

    custom_ca: str = ""
    """Certificates that client certificates must lead to."""

    client_verify: bool = False
    """Ask clients for a certificate and verify it."""


def batching_parameters(text: str, file: str = "") -> BatchingParameters:
    """Read a BatchingParameters file; raises ConfigError with every mistake."""

    def check(message: model_config_pb2.BatchingParameters, places: Outline) -> Iterator[Problem]:
        for name, problem in batching_problems(_batching(message)):
            yield Problem(problem, file, places.line_of(name), name)

    return _batching(checked_message(text, model_config_pb2.BatchingParameters(), file, check))


def _batching(message: model_config_pb2.BatchingParameters) -> BatchingParameters:
    values: dict[str, Any] = {field.name: getattr(value, "value", value) for field, value in message.ListFields()}
    values["allowed_batch_sizes"] = tuple(message.allowed_batch_sizes)
    return BatchingParameters(**values)


def batching_problems(parameters: BatchingParameters) -> Iterator[tuple[str, str]]:
    """Yield field and text of every mistake in batching parameters (TensorFlow Serving, BatchingParameters)."""
    if parameters.max_batch_size < 1:
        yield "max_batch_size", f"input_batch_size_limit must be positive; was {parameters.max_batch_size}"
    if parameters.batch_timeout_micros < 0:
        yield (
            "batch_timeout_micros",
            f"batch_timeout_micros must be non-negative; was {parameters.batch_timeout_micros}",
        )
    if parameters.max_enqueued_batches < (1 if parameters.enable_large_batch_splitting else 0):
        yield "max_enqueued_batches", f"max_enqueued_batches must be positive; was {parameters.max_enqueued_batches}"
    if parameters.num_batch_threads is not None and parameters.num_batch_threads < 1:
        yield "num_batch_threads", f"num_batch_threads must be positive; was {parameters.num_batch_threads}"
    yield from _splitting_problems(parameters)
    yield from _allowed_size_problems(parameters)


def _splitting_problems(parameters: BatchingParameters) -> Iterator[tuple[str, str]]:
    if not parameters.enable_large_batch_splitting:
        return
    limit, request_limit = parameters.execution_batch_size, parameters.max_batch_size
    if limit > request_limit:
        text = "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to"
        sizes = f"input_batch_size_limit is {request_limit}, max_execution_batch_size is {limit}"
        yield "max_execution_batch_size", f"{text} max_execution_batch_size. {sizes}"
    if limit < 1:
        yield "max_execution_batch_size", f"max_execution_batch_size must be positive; was {limit}"


def _allowed_size_problems(parameters: BatchingParameters) -> Iterator[tuple[str, str]]:
    sizes = parameters.allowed_batch_sizes
    if not sizes:
        return
    if sizes[0] < 1 or any(right <= left for left, right in itertools.pairwise(sizes)):
        yield "allowed_batch_sizes", f"allowed_batch_sizes must be positive and increasing; was {list(sizes)}"
    limit, request_limit = parameters.execution_batch_size, parameters.max_batch_size
    if sizes[-1] not in (limit, request_limit):
        names = "max_batch_size" if limit == request_limit else "max_batch_size or max_execution_batch_size"
        expected = f"{request_limit}" if limit == request_limit else f"{request_limit} or {limit}"
        yield (
            "allowed_batch_sizes",
            f"Last entry in allowed_batch_sizes must match {names}; last entry was {sizes[-1]}; expected {expected}",
        )


_BATCHING: Mapping[str, Reader] = {
    "max_batch_size": whole(),
    "batch_timeout_micros": whole(),
    "max_enqueued_batches": whole(),
    "num_batch_threads": whole(),
    "thread_pool_name": text,
    "allowed_batch_sizes": each(whole()),
    "pad_variable_length_inputs": flag,
    "enable_large_batch_splitting": flag,
    "max_execution_batch_size": whole(),
}


def batching_section(entry: YamlEntry) -> Any:
    """Read the same parameters in our YAML file."""
    parameters = BatchingParameters(**section(_BATCHING)(entry))
    for name, message in batching_problems(parameters):
        entry.at(name).mistake(message)
    return parameters


def monitoring_config(text: str, file: str = "") -> MonitoringConfig:
    """Read a MonitoringConfig file; raises ConfigError with every mistake."""

    def check(message: model_config_pb2.MonitoringConfig, places: Outline) -> Iterator[Problem]:
        path = message.prometheus_config.path
        if path and not path.startswith("/"):
            line = places.line_of("prometheus_config", "path")
            yield Problem(f"The path must start with /; was {path}", file, line, "prometheus_config.path")

    message = checked_message(text, model_config_pb2.MonitoringConfig(), file, check)
    prometheus = message.prometheus_config
    return MonitoringConfig(prometheus.enable, prometheus.path or DEFAULT_METRICS_PATH)


def ssl_config(text: str, file: str = "") -> SslConfig:
    """Read an SSLConfig file, which holds PEM texts and not file names; raises ConfigError with every mistake."""
    message = checked_message(text, model_config_pb2.SSLConfig(), file, partial(_ssl_problems, file))
    return SslConfig(message.server_key, message.server_cert, message.custom_ca, message.client_verify)


def _ssl_problems(file: str, message: model_config_pb2.SSLConfig, places: Outline) -> Iterator[Problem]:
    required = ("server_key", "server_cert", *(("custom_ca",) if message.client_verify else ()))
    for name in ("server_key", "server_cert", "custom_ca"):
        pem = cast("str", getattr(message, name))
        if (pem or name in required) and "-----BEGIN " not in pem:
            text = f"{name} must hold a PEM text, from -----BEGIN to -----END; file names are not read"
            yield Problem(text, file, places.line_of(name), name)
