"""ModelServer: one version of one model in its own Serve deployment, own process, own share of the node.

The constructor loads; a version that cannot be loaded raises, and its error text reaches the watcher through Serve's
status. Calls come over the direct transport or through Serve's handle; both end in the same `Execution`.
"""

from __future__ import annotations

import asyncio
import time

import ray
from ray import serve

from core.config.model_config import LoggingConfig
from core.profiling.profile_request import RecordingOrder
from core.routing.call_trailer import unpacked_trailer
from core.routing.transport import Call, Endpoint, Method
from core.versions.servable_spec import ServableSpec
from deployments.inference.batcher import through_serve
from deployments.inference.serve_autoscaling import HELD, OPEN_CALLS
from deployments.inference.served_version import ServedVersion, ServingPlace
from deployments.telemetry.process_logs import configure as configure_logs
from deployments.telemetry.process_metrics import report as process_report
from deployments.telemetry.ray_metrics import RayMetrics


class ModelServer:
    """Loads one version and answers its calls."""

    def __init__(self, spec: ServableSpec) -> None:
        replica = serve.get_replica_context().replica_id.unique_id
        configure_logs(spec.settings.logs, "model", spec.servable.name, str(spec.servable.version), replica)
        place = ServingPlace(ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id(), replica)
        self._version = ServedVersion(spec, place, through_serve)
        self._held_until_s = 0.0
        RayMetrics().start()

    async def endpoint(self, logs: tuple[LoggingConfig, ...]) -> Endpoint:
        """Return where the direct transport listens and how runs went, and take over the settings of request logs.

        Called by every router through a broadcast.
        """
        return self._version.endpoint(logs)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Report the load, and whether replicas are held; called only where Serve scales."""
        return {OPEN_CALLS: self._version.open_calls, HELD: float(time.monotonic() < self._held_until_s)}

    async def hold(self, seconds: float) -> None:
        """Keep as many replicas as there are, for some time, although the load would let some go."""
        self._held_until_s = time.monotonic() + seconds

    async def call(self, method: int, body: bytes, timeout_s: float | None, trace: bytes = b"") -> tuple[int, bytes]:
        """Answer a call that came through a Serve handle."""
        parent, headers = unpacked_trailer(trace)
        answer = await self._version.call(Call(Method(method), body, timeout_s, parent, headers=headers))
        return int(answer.code), bytes(answer.body)

    async def profile(self, order: RecordingOrder) -> tuple[int, bytes]:
        """Record this process; returns the file, or a code with its text."""
        return await asyncio.to_thread(self._version.profile, order)

    async def end_profile(self, key: str) -> None:
        """End a recording before its time."""
        self._version.end_profile(key)

    async def metrics(self) -> bytes:
        """Return what this process has counted."""
        return process_report()

    async def check_health(self) -> None:
        """Fail when the version hangs; Serve then replaces the replica."""
        await self._version.check_health()

    async def __del__(self) -> None:
        """Announce the end to the routers, finish calls in work, free the model."""
        version = getattr(self, "_version", None)
        if version is not None:
            await version.end()
