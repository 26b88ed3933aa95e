"""The Serve application: import target of `configs/app.yaml`, and of the console script.

`build` takes TensorFlow Serving's flags as `args`. They name files and ports only: Serve restarts every replica of an
application whose `args` change, so settings that may change at run time belong into the files.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application

from core.access.exposure import exposure
from core.config.server_settings import ServerSettings
from deployments.config.startup_settings import settings_of_config
from deployments.container.cpus import usable_cpus
from deployments.grpc.serve_proxy import PROXIED, register
from deployments.oip.grpc_rights import SERVICE
from deployments.oip.serve_proxy import OIP_METHODS
from deployments.router import Router
from deployments.versions.serve_host import ROUTER_DEPLOYMENT
from deployments.watcher import Watcher

__all__ = ["add_services", "build"]

log = logging.getLogger(__name__)

STOP_MARGIN_S = 10
"""How much longer than its drain time a replica may take before Serve kills it."""


def build(args: Mapping[str, object]) -> Application:
    """Build the router application from flags (`{"rest_api_port": 8501, ...}`).

    Raises InvalidArgument for flags that make no sense and ConfigError for files that cannot be used, so that a broken
    deployment fails at once and with its reasons.
    """
    settings, warnings = settings_of_config(args)
    for warning in (*warnings, *exposure(settings.front_door)):
        log.warning("configuration: %s", warning)
    return application(settings)


def add_services(servicer: object, server: Any) -> None:
    """Register the services on Serve's own gRPC proxy (`grpc_servicer_functions`)."""
    del servicer
    register(server, {**PROXIED, SERVICE: OIP_METHODS})


def application(settings: ServerSettings) -> Application:
    """Build the router application from settings with absolute paths."""
    stop_s = settings.front_door.drain_timeout_s + STOP_MARGIN_S
    watcher = serve.deployment(
        name="Watcher",
        ray_actor_options={"num_cpus": 0},
        num_replicas=1,
        max_ongoing_requests=1000,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=stop_s,
        health_check_period_s=5,
    )(Watcher)
    router = serve.deployment(
        name=ROUTER_DEPLOYMENT,
        ray_actor_options={"num_cpus": 0},
        num_replicas=settings.cluster.routers(usable_cpus()),
        max_ongoing_requests=10_000,
        max_constructor_retry_count=2,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=stop_s,
        health_check_period_s=1,  # only a check shows Serve that a process was killed, and its port closed
        **_spread(settings.cluster.max_routers_per_node),
    )(serve.ingress()(Router))
    bound: Application = router.bind(settings, watcher.bind(settings))
    return bound


def _spread(most_per_node: int) -> dict[str, Any]:
    """Return options of the routers: where nodes have room for so many only, none starts beside its predecessor."""
    if most_per_node:
        return {"max_replicas_per_node": most_per_node, "max_surge_percent": 0}
    return {"max_surge_percent": 100}
