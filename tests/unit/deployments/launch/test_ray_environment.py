"""The environment of a local Ray: protected by a token, and quiet."""

from __future__ import annotations

import importlib.util

import pytest

from deployments.launch.ray_environment import prepare, prepare_to_join
from tests.support.project import ROOT


def prepared(**given: str) -> dict[str, str]:
    """Return the environment after it was prepared."""
    prepare(given)
    return given


def test_each_server_has_a_token_of_its_own() -> None:
    """Two servers of one user must not share a token file."""
    one, other = prepared(), prepared()

    assert (one["RAY_AUTH_MODE"], len(one["RAY_AUTH_TOKEN"])) == ("token", 64)
    assert one["RAY_AUTH_TOKEN"] != other["RAY_AUTH_TOKEN"]


@pytest.mark.parametrize(
    "given",
    [{"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN_PATH": "/token"}, {"RAY_AUTH_TOKEN": "mine"}],
    ids=["no_token", "token_file", "token"],
)
def test_what_the_operator_set_stands(given: dict[str, str]) -> None:
    """Also the choice not to have a token."""
    after = prepared(**given)

    assert given.items() <= after.items()
    assert after.get("RAY_AUTH_TOKEN") == given.get("RAY_AUTH_TOKEN")


def test_ray_reports_no_usage() -> None:
    """Unless the operator wants it."""
    assert prepared()["RAY_USAGE_STATS_ENABLED"] == "0"
    assert prepared(RAY_USAGE_STATS_ENABLED="1")["RAY_USAGE_STATS_ENABLED"] == "1"


def test_workers_import_ahead_what_they_will_need() -> None:
    """The module is there, and an operator who names others has the last word."""
    assert importlib.util.find_spec(prepared()["RAY_preload_python_modules"])
    assert prepared(RAY_preload_python_modules="")["RAY_preload_python_modules"] == ""


def test_serve_hands_on_its_counts_no_oftener_than_they_are_needed() -> None:
    """Ten times a second, in each process and for each handle, is most of what an idle router would use."""
    assert float(prepared()["RAY_SERVE_METRICS_EXPORT_INTERVAL_MS"]) >= 1000.0
    assert prepared(RAY_SERVE_METRICS_EXPORT_INTERVAL_MS="100")["RAY_SERVE_METRICS_EXPORT_INTERVAL_MS"] == "100"


def test_who_joins_a_cluster_waits_for_its_head_as_long_as_the_hosts_do() -> None:
    """Its environment is its own, and Ray's minute would end it; nothing of what a local Ray needs is set."""
    environment: dict[str, str] = {}
    prepare_to_join(environment)

    assert [f"export {name}={value}" for name, value in environment.items()] == [
        line
        for line in (ROOT / "configs" / "ray_cluster.sh").read_text(encoding="utf-8").splitlines()
        if "reconnect_timeout_s" in line
    ]


def test_an_operator_says_how_long_a_head_may_be_away() -> None:
    """Also for the process that joins."""
    environment = {"RAY_gcs_rpc_server_reconnect_timeout_s": "60"}
    prepare_to_join(environment)

    assert environment == {"RAY_gcs_rpc_server_reconnect_timeout_s": "60"}
