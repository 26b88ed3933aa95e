"""What raylets are asked, over real sockets, with Ray's own messages."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import ray
from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc

from core.versions.spare_workers import KEEP_ALIVE_S
from deployments.workers.spare_workers import NotOffered, RayRaylets, version_environment

OF_NO_JOB = ray.JobID.nil().binary()
OF_A_JOB = ray.JobID.from_int(1).binary()


class Raylet(node_manager_pb2_grpc.NodeManagerServiceServicer):
    """A raylet with these processes, that remembers what it was asked for."""

    def __init__(self, *processes: tuple[int, bytes]) -> None:
        self.processes = processes
        self.asked: list[Any] = []

    def GetNodeStats(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Return the processes."""
        del request, context
        stats = [
            common_pb2.CoreWorkerStats(worker_type=kind, job_id=job, language=common_pb2.PYTHON)
            for kind, job in self.processes
        ]
        return node_manager_pb2.GetNodeStatsReply(core_workers_stats=stats)

    def PrestartWorkers(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Remember the request."""
        del context
        self.asked.append(request)
        return node_manager_pb2.PrestartWorkersReply()


@pytest.fixture
def server() -> Iterator[grpc.Server]:
    """A server without any service yet."""
    server = grpc.server(ThreadPoolExecutor(1))
    yield server
    server.stop(None).wait()


def opened(server: grpc.Server, raylet: Raylet | None = None) -> str:
    """Start a server, as a raylet if there is one; gives its address."""
    if raylet is not None:
        node_manager_pb2_grpc.add_NodeManagerServiceServicer_to_server(raylet, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    return address


def test_workers_of_no_job_are_idle(server: grpc.Server) -> None:
    """Drivers, workers that restore objects, and those with work are not."""
    raylet = Raylet(
        (common_pb2.WORKER, OF_NO_JOB),
        (common_pb2.WORKER, OF_A_JOB),
        (common_pb2.DRIVER, OF_NO_JOB),
        (common_pb2.RESTORE_WORKER, OF_NO_JOB),
        (common_pb2.WORKER, OF_NO_JOB),
    )

    assert RayRaylets("{}").idle_workers(opened(server, raylet)) == 2


def test_workers_are_asked_for_in_the_environment_of_versions(server: grpc.Server) -> None:
    """Ray gives them to no actor with another one."""
    raylet = Raylet()

    RayRaylets("{}").prestart(opened(server, raylet), 3)

    (request,) = raylet.asked
    assert (request.language, request.num_workers) == (common_pb2.PYTHON, 3)
    assert request.keep_alive_duration_secs == KEEP_ALIVE_S
    assert request.runtime_env_info.serialized_runtime_env == version_environment("") == "{}"


def test_with_haproxy_versions_have_an_environment_of_their_own(
    server: grpc.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Direct ingress is switched off in them, and so it is in the workers that wait."""
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    raylet = Raylet()

    RayRaylets("{}").prestart(opened(server, raylet), 1)

    assert '"RAY_SERVE_ENABLE_HA_PROXY": "0"' in raylet.asked[0].runtime_env_info.serialized_runtime_env


def test_a_ray_that_does_not_offer_it_is_told_from_one_that_is_away(server: grpc.Server) -> None:
    """The first is not asked again."""
    address = opened(server)

    with pytest.raises(NotOffered):
        RayRaylets("{}").prestart(address, 1)
    server.stop(None).wait()
    with pytest.raises(grpc.RpcError):
        RayRaylets("{}").prestart(address, 1)
