"""Which applications are versions, what Serve says of them, and with which options they are submitted."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from ray import serve
from ray.serve._private.common import DeploymentStatus, DeploymentStatusTrigger
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview, DeploymentStatusOverview

from core.config.model_config import Autoscaling, BatchingParameters, ModelResources
from core.errors import Code
from core.versions.load_report import LoadFailed, failure_in
from core.versions.servable import ServableId
from core.versions.servable_spec import ServableSpec
from core.versions.world import Condition
from deployments.versions.serve_host import (
    ROUTER_APP,
    RayServeHost,
    _is_version_app,
    _observation,
    deployment_options,
    ingress_switches,
    router_target,
    version_target,
)
from deployments.versions.serve_status import ServeStatus


def failed_app(message: str) -> ApplicationStatusOverview:
    """Return what Serve says of an application whose only deployment failed."""
    deployment = DeploymentStatusOverview(
        status=DeploymentStatus.DEPLOY_FAILED,
        status_trigger=DeploymentStatusTrigger.REPLICA_STARTUP_FAILED,
        replica_states={},
        message=message,
    )
    return ApplicationStatusOverview(
        status=ApplicationStatus.DEPLOY_FAILED,
        message="Failed to update the deployments ['ModelServer'].",
        last_deployed_time_s=1.0,
        deployments={"ModelServer": deployment},
    )


def test_the_error_of_a_load_is_found() -> None:
    """Wherever it stands in the text."""
    seen = _observation(failed_app(f"Traceback:\n  File x\n{LoadFailed(Code.NOT_FOUND, 'no SavedModel')}\n"))

    failure = failure_in(seen.message)
    assert (seen.condition, failure.code, failure.message) == (Condition.FAILED, Code.NOT_FOUND, "no SavedModel")


def test_a_process_that_ended_without_a_word_is_told_by_its_own_last_line() -> None:
    """What Serve says of the application is the same for every failure."""
    seen = _observation(failed_app("The deployment failed to start.\nAttributeError: no attribute 'x'"))

    assert failure_in(seen.message).message.endswith("ended without an answer: AttributeError: no attribute 'x'")


@pytest.mark.parametrize(
    ("status", "condition"),
    [
        (ApplicationStatus.NOT_STARTED, Condition.DEPLOYING),
        (ApplicationStatus.DEPLOYING, Condition.DEPLOYING),
        (ApplicationStatus.RUNNING, Condition.RUNNING),
        (ApplicationStatus.UNHEALTHY, Condition.RUNNING),
        (ApplicationStatus.DEPLOY_FAILED, Condition.FAILED),
        (ApplicationStatus.DELETING, Condition.DELETING),
    ],
)
def test_each_status_of_serves_is_a_condition(status: ApplicationStatus, condition: Condition) -> None:
    """An unhealthy application still answers with the replicas that are left."""
    assert _observation(app(status=status)).condition is condition


def app(
    *deployments: str, status: ApplicationStatus = ApplicationStatus.RUNNING, **replicas: int
) -> ApplicationStatusOverview:
    """Return what Serve says of an application with these deployments and replicas by state."""
    one = DeploymentStatusOverview(
        status=DeploymentStatus.HEALTHY,
        status_trigger=DeploymentStatusTrigger.UNSPECIFIED,
        replica_states=replicas,
        message="",
    )
    return ApplicationStatusOverview(
        status=status, message="", last_deployed_time_s=7.0, deployments=dict.fromkeys(deployments, one)
    )


def test_replicas_that_run_are_counted() -> None:
    """Those that start or stop cannot answer; the time of the submission is Serve's."""
    seen = _observation(app("ModelServer", RUNNING=2, STARTING=1, STOPPING=1))

    assert (seen.replicas, seen.deployed_s) == (2, 7.0)


def test_a_change_that_serve_tells_leads_to_a_look_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is woken after that is noted."""
    looks: list[int] = []
    woken = threading.Event()

    async def tell(_: ServeStatus, on_change: Callable[[], None]) -> None:
        on_change()

    monkeypatch.setattr(ServeStatus, "of_all", lambda _: looks.append(1) or {})
    monkeypatch.setattr(ServeStatus, "follow", tell)
    host = RayServeHost()
    host.observe(())
    host.observe(())
    assert len(looks) == 1

    host.follow(woken.set)
    assert woken.wait(20.0)
    host.observe(())

    assert len(looks) == 2


@pytest.mark.parametrize(
    ("name", "deployments", "is_ours"),
    [
        ("m:1", ("ModelServer",), True),
        ("m:1", (), True),
        ("m:latest", ("ModelServer",), True),
        ("router", ("Router", "Watcher"), False),
        ("m:1", ("Chat",), False),
        ("m:1", ("ModelServer", "Chat"), False),
    ],
)
def test_an_application_is_a_versions_by_its_name_and_its_only_deployment(
    name: str,
    deployments: tuple[str, ...],
    is_ours: bool,  # noqa: FBT001
) -> None:
    """Others may use the cluster too; one that is just submitted has no deployment yet."""
    assert _is_version_app(name, app(*deployments)) is is_ours


def test_the_resources_of_a_model_become_options_of_its_deployment() -> None:
    """Only what is given is asked of Ray; the time to stop holds the drain time and a margin."""
    resources = ModelResources(
        num_cpus=2.0, num_gpus=0.5, memory_bytes=10, resources={"place": 1.0}, drain_timeout_s=7.2
    )

    options = deployment_options(resources)

    assert options["ray_actor_options"] == {"num_cpus": 2.0, "num_gpus": 0.5, "memory": 10, "resources": {"place": 1.0}}
    assert options["graceful_shutdown_timeout_s"] == 8 + 5
    assert options["num_replicas"] == resources.num_replicas
    assert "autoscaling_config" not in options


def test_replicas_are_spread_over_nodes_where_that_is_asked_for() -> None:
    """The loss of a node then leaves the others; without it, Serve places as it likes."""
    assert deployment_options(ModelResources(max_replicas_per_node=2))["max_replicas_per_node"] == 2
    assert "max_replicas_per_node" not in deployment_options(ModelResources())


def test_autoscaling_takes_the_place_of_a_number_of_replicas() -> None:
    """Serve refuses both at once."""
    options = deployment_options(ModelResources(autoscaling=Autoscaling()))

    assert "num_replicas" not in options
    assert "autoscaling_config" in options


@pytest.mark.parametrize(
    ("environment", "is_off"),
    [({}, False), ({"RAY_SERVE_ENABLE_HA_PROXY": "0"}, False), ({"RAY_SERVE_ENABLE_HA_PROXY": "1"}, True)],
)
def test_model_servers_open_no_ports_of_serves(environment: dict[str, str], is_off: bool) -> None:  # noqa: FBT001
    """Where Serve's direct ingress is on for the routers, it is switched off for the versions."""
    assert set(ingress_switches(environment).values()) == ({"0"} if is_off else set())


@pytest.mark.parametrize(
    ("batching", "own", "expected"),
    [(None, 100, 100), (BatchingParameters(8, num_batch_threads=1), 50, 88), (BatchingParameters(1), 500, 500)],
)
def test_serve_holds_no_requests_back_that_could_fill_batches(
    batching: BatchingParameters | None, own: int, expected: int
) -> None:
    """Those that come through its handle; an operator's larger number stands."""
    spec = ServableSpec(ServableId("m", 1), "/m/1", batching=batching)

    target = version_target(spec, ModelResources(max_ongoing_requests=own))

    assert target.target._bound_deployment.max_ongoing_requests == expected


def test_a_version_has_an_application_without_a_route() -> None:
    """Only routers are reached from outside."""
    version = version_target(ServableSpec(ServableId("m", 1), "/m/1"), ModelResources())
    router = router_target(serve.deployment(Router).bind())

    assert (version.name, version.route_prefix) == ("m:1", None)
    assert (router.name, router.route_prefix) == (ROUTER_APP, "/")


class Router:
    """Any deployment."""
