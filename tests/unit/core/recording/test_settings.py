"""Tests of the settings of warm-up and request logs, and of how a table carries what models log."""

from __future__ import annotations

import pytest

from core.config.arguments import parse_flags
from core.config.model_config import LoggingConfig, ModelConfig
from core.config.server_settings import LoadingSettings, RequestLogSettings, ServerSettings
from core.routing.table import RoutingTable
from core.routing.table_of_records import routing_table
from core.versions.lifecycle import State
from core.versions.record import VersionRecord
from core.versions.servable import ServableId
from core.versions.world import World

LOG = LoggingConfig(filename_prefix="/logs/m", sampling_rate=1.0)


def started(*arguments: str) -> ServerSettings:
    """Return the settings of arguments that must be right."""
    parsed = parse_flags(("--model_base_path=/m", *arguments))
    assert parsed.settings is not None, parsed
    assert parsed.warnings == ()
    return parsed.settings


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), LoadingSettings(warm_up=True, warm_up_iterations=1)),
        (("--enable_model_warmup=false",), LoadingSettings(warm_up=False)),
        (("--num_request_iterations_for_warmup=3",), LoadingSettings(warm_up_iterations=3)),
        (("--num_request_iterations_for_warmup=0",), LoadingSettings(warm_up_iterations=1)),
        (("--num_request_iterations_for_warmup=-5",), LoadingSettings(warm_up_iterations=1)),
    ],
)
def test_warm_up_flags(arguments: tuple[str, ...], expected: LoadingSettings) -> None:
    """Warm-up is on; no number, or a senseless one, replays once."""
    assert started(*arguments).loading == expected


def test_request_log_flags() -> None:
    """Which server this is, and how large and old its files become."""
    settings = started(
        "--request_log_dc=aa",
        "--request_log_task_index=3",
        "--request_log_max_file_bytes=1000",
        "--request_log_max_file_age_s=2.5",
    )

    assert settings.request_log == RequestLogSettings("aa", 3, 1000, 2.5)


def test_senseless_limits_of_files_become_the_smallest() -> None:
    """Each record would then get a file of its own, soon."""
    settings = started("--request_log_max_file_bytes=-1", "--request_log_max_file_age_s=-1")

    assert (settings.request_log.max_file_bytes, settings.request_log.max_file_age_s) == (1, 0)


def table(*models: ModelConfig) -> RoutingTable:
    """Return the table of two models, `m` with two versions that answer and one that loads."""
    states = {("m", 1): State.AVAILABLE, ("m", 2): State.AVAILABLE, ("m", 3): State.LOADING, ("n", 1): State.AVAILABLE}
    records = {
        (servable := ServableId(*key)): VersionRecord(servable, f"/{key[0]}", state) for key, state in states.items()
    }
    return routing_table(records, World(1.0, models), RoutingTable(0))


def test_a_table_says_what_every_version_logs() -> None:
    """Running versions follow the configuration without being loaded anew."""
    logged = table(ModelConfig("m", "/m", logging=(LOG,)), ModelConfig("n", "/n"))

    assert logged.logging == {"m:1": (LOG,), "m:2": (LOG,), "n:1": ()}


def test_a_changed_log_makes_another_table() -> None:
    """Otherwise nobody would hear of it."""
    n = ModelConfig("n", "/n")

    assert table(ModelConfig("m", "/m", logging=(LOG,)), n) != table(ModelConfig("m", "/m"), n)


def test_a_model_that_is_configured_no_longer_logs_nothing() -> None:
    """Its versions still answer until they are unloaded."""
    assert table(ModelConfig("n", "/n")).logging["m:1"] == ()


def test_headers_that_events_get_are_named_without_regard_to_case() -> None:
    """HTTP has none, and gRPC small letters only."""
    settings = started("--request_log_metadata_headers=X-Request-Id, x-tenant,")

    assert settings.request_log.metadata_headers == ("x-request-id", "x-tenant")


@pytest.mark.parametrize("name", ["Authorization", "cookie", "x-api-key", "x-token", "a b", "x:y", "ü"])
def test_headers_that_hold_secrets_are_refused(name: str) -> None:
    """And what cannot be the name of a header."""
    parsed = parse_flags(("--model_base_path=/m", f"--request_log_metadata_headers={name}"))

    assert parsed.settings is None
    assert "must be names of headers that hold no secrets" in str(parsed.problems[0])
