"""Keeps idle workers of Ray ready on every node, in which the next version starts without waiting for a process.

They are ordinary workers that Ray starts ahead of demand (its raylet's PrestartWorkers). Ray gives one to the first
actor with the same runtime environment, so models with environment variables of their own start as without them. What
a worker does until then is up to `deployments.workers.preload`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

import grpc
import ray
from ray.runtime_env import RuntimeEnv

from core.config.model_config import ModelResources
from core.versions.spare_workers import KEEP_ALIVE_S, UNASKED, NodeSpares, next_look_s, to_ask
from deployments.system.clock import Clock
from deployments.telemetry.repeated_failure_log import RepeatedFailureLog
from deployments.versions.serve_host import deployment_options

log = logging.getLogger(__name__)

ANSWERED_WITHIN_S = 10.0


class NotOffered(Exception):
    """Raised where Ray does not start workers ahead of demand."""


class Raylets(Protocol):
    """The processes that start workers, one for each node."""

    def nodes(self) -> Mapping[str, str]:
        """Return the addresses of the nodes on which versions may start, by node."""

    def idle_workers(self, address: str) -> int:
        """Count a node's workers without any work so far."""

    def prestart(self, address: str, count: int) -> None:
        """Let a node start workers, and return at once; raises NotOffered where Ray cannot."""


class RayRaylets:
    """The raylets of the cluster that this process belongs to, called as Ray's own programs call them.

    `environment` is the runtime environment of this process, as Ray writes it: versions inherit it.
    """

    def __init__(self, environment: str) -> None:
        try:  # they are no part of Ray's public interface
            self._common = import_module("ray.core.generated.common_pb2")
            self._messages = import_module("ray.core.generated.node_manager_pb2")
            self._services = import_module("ray.core.generated.node_manager_pb2_grpc")
            self._opened = import_module("ray._private.grpc_utils").init_grpc_channel  # with the cluster's token
            environment_of = import_module("ray._private.utils").get_runtime_env_info
        except (ImportError, AttributeError) as error:
            raise NotOffered(str(error)) from error
        self._environment = environment_of(RuntimeEnv.deserialize(version_environment(environment)))

    def nodes(self) -> Mapping[str, str]:
        """Return the addresses of the nodes that are alive and have CPUs, by node."""
        return {
            node["NodeID"]: f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        }

    def idle_workers(self, address: str) -> int:
        """Count a node's workers of no job."""
        reply = self._call(address, "GetNodeStats", self._messages.GetNodeStatsRequest())
        return sum(
            one.worker_type == self._common.WORKER
            and one.language == self._common.PYTHON
            and one.job_id == ray.JobID.nil().binary()
            for one in reply.core_workers_stats
        )

    def prestart(self, address: str, count: int) -> None:
        """Let a node start workers, and return at once."""
        request = self._messages.PrestartWorkersRequest(
            language=self._common.PYTHON,
            runtime_env_info=self._environment,
            keep_alive_duration_secs=int(KEEP_ALIVE_S),
            num_workers=count,
        )
        self._call(address, "PrestartWorkers", request)

    def _call(self, address: str, method: str, request: Any) -> Any:
        with self._opened(address) as channel:
            try:
                call = getattr(self._services.NodeManagerServiceStub(channel), method)
                return call(request, timeout=ANSWERED_WITHIN_S)
            except AttributeError as error:
                raise NotOffered(str(error)) from error
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    raise NotOffered(f"no {method} at {address}") from error
                raise


def version_environment(inherited: str) -> str:
    """Return the runtime environment of versions whose models have none of their own, as Ray writes it."""
    given = deployment_options(ModelResources())["ray_actor_options"].get("runtime_env")
    if given is not None:
        return str(RuntimeEnv(**given).serialize())
    return inherited or "{}"


class SpareWorkers:
    """One thread that looks at the nodes some time after loads, and now and then."""

    def __init__(self, wanted: int, clock: Clock, raylets: Raylets | None = None) -> None:
        self._wanted = wanted
        self._clock = clock
        self._raylets = raylets
        self._known: dict[str, NodeSpares] = {}
        self._loaded_s = clock.steady_s()
        self._is_short = True
        self._load_began = threading.Event()
        self._stopping = False
        self._failures = RepeatedFailureLog("spare_workers_failed", "spare_workers_work_again")

    def start(self) -> None:
        """Begin, if there are to be any."""
        if self._wanted > 0:
            threading.Thread(target=self._run, name="spare-workers", daemon=True).start()

    def stop(self) -> None:
        """End the thread; workers that wait stay with Ray."""
        self._stopping = True
        self._load_began.set()

    def load_begins(self) -> None:
        """Note that a version starts: it takes a spare worker of some node."""
        self._loaded_s = self._clock.steady_s()
        self._load_began.set()

    def _run(self) -> None:
        while not self._stopping:
            pause_s = next_look_s(self._clock.steady_s(), self._loaded_s, is_short=self._is_short)
            if self._load_began.wait(pause_s):
                self._load_began.clear()
                continue
            try:
                self.look()
            except NotOffered as error:
                log.info("spare_workers_not_offered error=%s", error)
                return
            except Exception as error:  # noqa: BLE001 - spare workers only save time; whatever failed may work later
                self._failures.failed(self._clock.steady_s(), error)

    def look(self) -> None:
        """Ask every node that lacks spare workers for some."""
        raylets = self._raylets = self._raylets or RayRaylets(ray.get_runtime_context().get_runtime_env_string())
        nodes = raylets.nodes()
        self._known = {node: known for node, known in self._known.items() if node in nodes}
        lacking = [node for node, address in nodes.items() if self._ask(raylets, node, address)]
        self._is_short = bool(lacking)

    def _ask(self, raylets: Raylets, node: str, address: str) -> bool:
        """Ask a node for what it lacks; returns whether it lacks anything. One that does not answer stops no other."""
        now_s = self._clock.steady_s()
        try:
            idle = raylets.idle_workers(address)
            known, count = to_ask(self._known.get(node, UNASKED), idle, self._wanted, now_s, self._loaded_s)
            self._known[node] = known
            if count:
                raylets.prestart(address, count)
                log.info("spare_workers_asked node=%s count=%d", node, count)
        except grpc.RpcError as error:
            self._failures.failed(now_s, error)
            return False
        self._failures.went_well(now_s)
        return idle < self._wanted
