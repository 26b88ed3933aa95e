"""Statistics on both ports, from reports of model servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest

from core.config.version_policy import All
from core.protos import oip_pb2
from core.telemetry.metric_names import INFERENCE_ROWS, QUEUE_SECONDS
from core.telemetry.metric_report import Report, to_bytes
from core.telemetry.metrics import Metrics
from tests.support.clients import wait_until
from tests.support.repository_server import RepositoryServer
from tests.support.sites import M, Site

METHOD = "ModelStatistics"


def report(name: str, version: str, rows: int) -> bytes:
    """Return the report of a model server that has answered so many rows."""
    metrics = Metrics()
    metrics.observe(QUEUE_SECONDS, name, version, value=0.1)
    metrics.count(INFERENCE_ROWS, name, version, by=rows)
    return to_bytes(Report(f"{name}:{version}", 1, metrics.snapshot()))


@pytest.fixture(scope="module")
def live() -> Iterator[RepositoryServer]:
    """A server of versions 1 and 2 of `m`, the first one labelled, and of version 1 of `n`."""
    site = Site((1, 2), configs=(replace(M, policy=All(), labels={"stable": 1}), replace(M, name="n", base_path="/n")))
    site.source.write("/n", 1)
    site.settle()
    with RepositoryServer(site, is_enabled=False) as server:
        wait_until(lambda: len(server.index()) == 3, "all versions answer")
        server.model_servers.given = [
            report("m", "1", 5),
            report("m", "2", 7),
            report("m", "2", 1),
            report("n", "1", 9),
        ]
        yield server


def rows(live: RepositoryServer, path: str) -> dict[str, int]:
    """Return the rows of each version that REST tells of."""
    reply = live.rest.get(path)
    assert reply.status == 200, reply.body
    return {f"{one['name']}:{one['version']}": one["inference_count"] for one in reply.json["model_stats"]}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/models/stats", {"m:1": 5, "m:2": 8, "n:1": 9}),
        ("/v2/models/m/stats", {"m:1": 5, "m:2": 8}),
        ("/v2/models/m/versions/2/stats", {"m:2": 8}),
        ("/v2/models/m/labels/stable/stats", {"m:1": 5}),
    ],
)
def test_statistics_are_those_of_a_version_a_model_or_all(live: RepositoryServer, path, expected) -> None:
    """Replicas of a version are added up."""
    assert rows(live, path) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [("m", "1", 5), ("m", "2", 8), ("n", "1", 9)]),
        ({"name": "m"}, [("m", "1", 5), ("m", "2", 8)]),
        ({"name": "m", "version": "1"}, [("m", "1", 5)]),
    ],
)
def test_grpc_tells_the_same_and_an_empty_name_means_all(live: RepositoryServer, fields, expected) -> None:
    """As tritonclient asks."""
    raw = live.call(METHOD, oip_pb2.ModelStatisticsRequest(**fields))

    stats = oip_pb2.ModelStatisticsResponse.FromString(raw).model_stats
    assert [(one.name, one.version, one.inference_count) for one in stats] == expected


@pytest.mark.parametrize("path", ["x/stats", "m/versions/7/stats", "m/labels/canary/stats"])
def test_what_is_not_there_has_no_statistics(live: RepositoryServer, path) -> None:
    """With an error in JSON."""
    reply = live.rest.get(f"/v2/models/{path}")

    assert (reply.status, set(reply.json)) == (404, {"error"})


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": "x"}, grpc.StatusCode.NOT_FOUND),
        ({"name": "m", "version": "7"}, grpc.StatusCode.NOT_FOUND),
        ({"name": "m", "version": "x"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"version": "1"}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_grpc_refuses_what_is_not_there_or_makes_no_sense(live: RepositoryServer, fields, code) -> None:
    """A version belongs to a model."""
    with pytest.raises(grpc.RpcError) as raised:
        live.call(METHOD, oip_pb2.ModelStatisticsRequest(**fields))

    assert raised.value.code() is code


def test_a_version_whose_model_servers_do_not_answer_has_done_nothing(live: RepositoryServer) -> None:
    """It is listed all the same."""
    given, live.model_servers.given = live.model_servers.given, []

    assert rows(live, "/v2/models/n/stats") == {"n:1": 0}
    live.model_servers.given = given


def test_statistics_are_read_and_not_posted(live: RepositoryServer) -> None:
    """As everything that changes nothing."""
    assert live.rest.post("/v2/models/m/stats", {}).status == 405
