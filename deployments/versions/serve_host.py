"""The only module that deploys, deletes and observes Serve applications.

All functions block on the Serve controller: call them in a thread. The names of version applications come from
`core.versions.servable.app_name`; an application counts as ours when its only deployment is a ModelServer.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, cast

import ray
from ray import serve
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview

from core.config.model_config import ModelResources
from core.errors import Unavailable
from core.routing.router_report import RouterReport
from core.routing.table import RoutingTable
from core.versions.servable import DEPLOYMENT, app_name
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation, Condition
from deployments.container.cpus import usable_cpus
from deployments.inference.serve_autoscaling import autoscaling_config
from deployments.model_server import ModelServer
from deployments.system.disk_space import full_disk
from deployments.system.event_loop import LoopThread
from deployments.telemetry.process_logs import session_logs
from deployments.telemetry.serve_failures import SERVE_FAILURES
from deployments.versions.hold_calls import HoldCalls
from deployments.versions.serve_status import ObservedApps, ServeStatus

ROUTER_APP = "router"
ROUTER_DEPLOYMENT = "Router"
BROADCAST_TIMEOUT_S = 10.0
CPUS_COUNTED_EVERY_S = 60.0

CONDITIONS: Mapping[ApplicationStatus, Condition] = {
    ApplicationStatus.NOT_STARTED: Condition.DEPLOYING,
    ApplicationStatus.DEPLOYING: Condition.DEPLOYING,
    ApplicationStatus.DEPLOY_FAILED: Condition.FAILED,
    ApplicationStatus.RUNNING: Condition.RUNNING,
    ApplicationStatus.UNHEALTHY: Condition.RUNNING,
    ApplicationStatus.DELETING: Condition.DELETING,
}


class NoRouters(Unavailable):
    """Routers have not been deployed yet, or could not be."""


class ServeHost(Protocol):
    """The operations of Serve that the watcher uses."""

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return the version applications by name: those in `moving` as they are now, or all of them for None.

        The others are looked at when something has changed among them, and after some seconds.
        """

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        """Submit the application of a version and return at once."""

    def delete(self, app: str) -> None:
        """Delete an application and return at once."""

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        """Send a table to every router and return their reports; raises Unavailable when one does not answer."""

    def tables(self) -> list[RoutingTable]:
        """Return the tables that routers use at present."""

    def cpus(self) -> int:
        """Count the CPUs of the cluster."""

    def full_disk(self) -> str:
        """Return that no process can start on this node because its disk is full; empty while there is room."""

    def hold(self, apps: Collection[str]) -> None:
        """Tell the replicas of these applications, and of no others, to stay for some time; returns at once."""


class RayServeHost:
    """Serve on the Ray cluster that this process belongs to."""

    def __init__(self, router_app: str = ROUTER_APP) -> None:
        self._routers: DeploymentHandle[Any] = DeploymentHandle(ROUTER_DEPLOYMENT, router_app)
        # Serve's throughput-optimized mode requires that a handle is used on one event loop only.
        self._loop = LoopThread("serve-host")
        self._status = status = ServeStatus()
        self._apps = ObservedApps(lambda: version_apps(status.of_all()), lambda apps: version_apps(status.of(apps)))
        self._holds = HoldCalls()
        self._cpus = 1
        self._cpus_due_s = 0.0

    def observe(self, moving: Collection[str] | None = None) -> Mapping[str, AppObservation]:
        """Return the version applications by name: those in `moving` as they are now, or all of them for None."""
        return self._apps.look(moving, time.monotonic())

    def follow(self, on_change: Callable[[], None]) -> None:
        """Look at all applications as soon as Serve says that a version has changed, and call `on_change` before."""

        def changed() -> None:
            self._apps.note_change()
            on_change()

        self._loop.run(self._status.follow(changed))

    def deploy(self, spec: ServableSpec, resources: ModelResources) -> None:
        """Submit the application of a version and return at once."""
        submit([version_target(spec, resources)])

    def delete(self, app: str) -> None:
        """Delete an application and return at once."""
        self._apps.note_change()
        serve.delete(app, _blocking=False)

    def publish(self, table: RoutingTable) -> list[RouterReport]:
        """Send a table to every router and return their reports; raises Unavailable when one does not answer."""
        return self._ask_routers("apply", table)

    def tables(self) -> list[RoutingTable]:
        """Return the tables that routers use at present."""
        return self._ask_routers("table")

    def _ask_routers(self, method: str, *arguments: Any) -> list[Any]:
        try:
            return self._loop.run(self._broadcast(method, *arguments)).result()
        except DeploymentUnavailableError as error:
            raise NoRouters("There are no routers.") from error
        except SERVE_FAILURES as error:
            raise Unavailable(f"Not every router answered {method}: {error}") from error

    async def _broadcast(self, method: str, *arguments: Any) -> list[Any]:
        response = self._routers.broadcast(method, *arguments)
        answers: list[Any] = await asyncio.wait_for(response.results_async(), BROADCAST_TIMEOUT_S)
        return answers

    def are_doors_open(self) -> bool:
        """Whether routers run and all of their front doors are open."""
        doors = self._ask_routers("is_open")
        return bool(doors) and all(doors)

    def full_disk(self) -> str:
        """Look at the disk of Ray's session, where every process opens its logs before anything else."""
        return full_disk(session_logs())

    def hold(self, apps: Collection[str]) -> None:
        """Tell the replicas of these applications, and of no others, to stay for some time; returns at once."""
        self._loop.run(self._holds.tell(apps))

    def cpus(self) -> int:
        """Count the CPUs of the cluster, as of the last minute."""
        if time.monotonic() > self._cpus_due_s:
            self._cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
            self._cpus_due_s = time.monotonic() + CPUS_COUNTED_EVERY_S
        return self._cpus


def submit(targets: Sequence[serve.RunTarget]) -> None:
    """Submit applications and return at once."""
    serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def router_target(application: serve.Application) -> serve.RunTarget:
    """Return the application of routers and watcher, ready to be submitted."""
    return serve.RunTarget(
        target=application, name=ROUTER_APP, route_prefix="/", logging_config={"enable_access_log": False}
    )


def router_status() -> ApplicationStatusOverview | None:
    """Return what Serve says of the application of routers and watcher; None when there is none."""
    return ServeStatus().of([ROUTER_APP]).get(ROUTER_APP)


def version_target(spec: ServableSpec, resources: ModelResources) -> serve.RunTarget:
    """Return the application of a version, ready to be submitted."""
    options = deployment_options(resources)
    if spec.batching is not None:  # requests that Serve holds back cannot fill a batch
        needed = spec.batching.requests_at_a_time(usable_cpus())
        options["max_ongoing_requests"] = max(needed, resources.max_ongoing_requests)
    deployment = serve.deployment(**options)(ModelServer)
    return serve.RunTarget(
        target=deployment.bind(spec),
        name=app_name(spec.servable),
        route_prefix=None,
        logging_config={"enable_access_log": False},
    )


def version_apps(apps: Mapping[str, ApplicationStatusOverview]) -> Mapping[str, AppObservation]:
    """Return those that are versions, as the watcher sees them."""
    return {name: _observation(seen) for name, seen in apps.items() if _is_version_app(name, seen)}


def _is_version_app(name: str, seen: ApplicationStatusOverview) -> bool:
    if ":" not in name:
        return False
    return not seen.deployments or set(seen.deployments) == {DEPLOYMENT}


def _observation(seen: ApplicationStatusOverview) -> AppObservation:
    messages = [one.message for one in seen.deployments.values() if one.message]
    return AppObservation(
        CONDITIONS.get(seen.status, Condition.DEPLOYING),
        "\n".join([seen.message, *messages]),  # of a process that ended without a report, the last line is shown
        sum(map(_running_replicas, seen.deployments.values())),
        seen.last_deployed_time_s,
    )


def _running_replicas(seen: DeploymentStatusOverview) -> int:
    return cast("Mapping[str, int]", seen.replica_states).get("RUNNING", 0)


def deployment_options(resources: ModelResources) -> dict[str, Any]:
    """Translate a model's resources into Serve's deployment options."""
    actor: dict[str, Any] = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus or 0.0}
    if resources.memory_bytes:
        actor["memory"] = resources.memory_bytes
    if resources.accelerator_type:
        actor["accelerator_type"] = resources.accelerator_type
    if resources.resources:
        actor["resources"] = dict(resources.resources)
    env_vars = {**resources.env_vars, **ingress_switches(os.environ)}
    if env_vars:
        actor["runtime_env"] = {"env_vars": env_vars}
    options: dict[str, Any] = {
        "name": DEPLOYMENT,
        "ray_actor_options": actor,
        "max_ongoing_requests": resources.max_ongoing_requests,
        "max_queued_requests": resources.max_queued_requests,
        "graceful_shutdown_wait_loop_s": 0.1,
        "graceful_shutdown_timeout_s": math.ceil(resources.drain_timeout_s) + 5,
        "max_constructor_retry_count": 1,
        "health_check_period_s": 5,
        "health_check_timeout_s": 30,
    }
    if resources.max_replicas_per_node:
        options["max_replicas_per_node"] = resources.max_replicas_per_node
    if resources.autoscaling is None:
        options["num_replicas"] = resources.num_replicas
    else:
        options["autoscaling_config"] = autoscaling_config(resources.autoscaling)
    return options


def ingress_switches(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that switch Serve's direct ingress off for model servers where it is on.

    Otherwise every version would open public ports of its own, and take half a minute to release them.
    """
    switches = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_ENABLE_DIRECT_INGRESS", "RAY_SERVE_THROUGHPUT_OPTIMIZED")
    return dict.fromkeys(switches, "0") if any(environment.get(name) == "1" for name in switches) else {}
