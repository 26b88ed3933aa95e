"""The version hosts of the cluster over Ray Serve: one application for each node on which a version is hosted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from core.config.server_settings import LogSettings
from core.versions.hosted import HOST_DEPLOYMENT, host_app, node_of_host
from core.versions.world import Condition
from deployments.hosting.host import VersionHost
from deployments.system.event_loop import LoopThread
from deployments.versions.serve_host import CONDITIONS, ingress_switches, submit
from deployments.versions.serve_status import ServeStatus

ANSWER_TIMEOUT_S = 10.0
"""After this time without an answer a host is asked again; a request to one that is being replaced may hang."""

NODE_LABEL = "ray.io/node-id"
"""The label that Ray gives every node: the only way to name a node to Serve."""


LONGEST_DRAIN_S = 60.0
"""How long Serve waits for the versions of a host that is stopped; a host is stopped when none is left in it."""


class ServeVersionHosts:
    """The `deployments.hosting.hosted_versions.VersionHosts` of the Ray cluster that this process belongs to."""

    def __init__(self, logs: LogSettings) -> None:
        self._logs = logs
        self._loop = LoopThread("version-hosts")
        self._handles: dict[str, DeploymentHandle[Any]] = {}
        self._status = ServeStatus()

    def nodes(self) -> Mapping[str, float]:
        """Return the nodes that are alive by id, with the CPUs that Ray has of each."""
        return alive_nodes()

    def conditions(self) -> dict[str, tuple[Condition, str]]:
        """Return the host applications by node, each with Serve's text."""
        found = {node_of_host(app): seen for app, seen in self._status.of_all().items()}
        return {
            node: (
                CONDITIONS.get(seen.status, Condition.DEPLOYING),
                "\n".join([seen.message, *(one.message for one in seen.deployments.values() if one.message)]),
            )
            for node, seen in found.items()
            if node
        }

    def start(self, node: str) -> None:
        """Submit the host application of a node and return at once."""
        submit([host_target(node, self._logs)])

    def stop(self, node: str) -> None:
        """Delete the host application of a node and return at once."""
        handle = self._handles.pop(node, None)
        if handle is not None:
            self._loop.run(handle.shutdown_async())
        serve.delete(host_app(node), _blocking=False)

    def ask(self, node: str, method: str, *arguments: Any) -> Future[Any]:
        """Begin a call to a host; the future raises what the host raised, or that it did not answer."""
        return self._loop.run(self._ask(node, method, *arguments))

    async def _ask(self, node: str, method: str, *arguments: Any) -> Any:
        if node not in self._handles:
            self._handles[node] = DeploymentHandle(HOST_DEPLOYMENT, host_app(node))
        asking = getattr(self._handles[node], method).remote(*arguments)
        try:
            return await asyncio.wait_for(asking, ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise TimeoutError(f"no answer to {method} within {ANSWER_TIMEOUT_S:.0f} s") from None


def alive_nodes() -> Mapping[str, float]:
    """Return the nodes of this cluster that are alive by id, with the CPUs that Ray has of each."""
    alive = (node for node in ray.nodes() if node["Alive"])
    return {node["NodeID"]: float(node["Resources"].get("CPU", 0.0)) for node in alive}


def host_target(node: str, logs: LogSettings) -> serve.RunTarget:
    """Return the host application of a node, ready to be submitted."""
    actor: dict[str, Any] = {"num_cpus": 0, "label_selector": {NODE_LABEL: node}}
    switches = ingress_switches(os.environ)
    if switches:
        actor["runtime_env"] = {"env_vars": switches}
    deployment = serve.deployment(
        name=HOST_DEPLOYMENT,
        ray_actor_options=actor,
        num_replicas=1,
        max_ongoing_requests=10_000,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=LONGEST_DRAIN_S,
        max_constructor_retry_count=1,
        health_check_period_s=5,
        health_check_timeout_s=30,
    )(VersionHost)
    return serve.RunTarget(
        target=deployment.bind(logs),
        name=host_app(node),
        route_prefix=None,
        logging_config={"enable_access_log": False},
    )
