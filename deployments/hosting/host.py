"""The Serve deployment of a node's version host, and what the watcher and the routers ask it.

Its application is named `core.versions.hosted.host_app(node)`. Every method is idempotent: the watcher repeats what it
did not see answered.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import ray
from ray import serve

from core.config.model_config import LoggingConfig
from core.config.server_settings import LogSettings
from core.profiling.profile_request import RecordingOrder
from core.routing.transport import Endpoint
from core.versions.hosted import host_app
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation
from deployments.hosting.version_process import HostNode
from deployments.hosting.version_processes import VersionProcesses
from deployments.telemetry.process_logs import configure as configure_logs
from deployments.telemetry.process_logs import session_logs


class VersionHosting(Protocol):
    """A version host as the watcher and the routers call it over Serve's handle."""

    async def load(self, spec: ServableSpec) -> None:
        """Begin to load a version and return at once; nothing happens to one that is loading or runs.

        Raises ConfigError for a version that needs what a child cannot have.
        """

    async def unload(self, app: str) -> None:
        """Let a version finish its calls and end, and return at once; a failed one is forgotten."""

    async def versions(self) -> Mapping[str, AppObservation]:
        """Return every version by application name, as Serve's status would show it."""
        ...

    async def endpoints(self, logs: Mapping[str, tuple[LoggingConfig, ...]]) -> Mapping[str, Endpoint]:
        """Return where each running version listens and how its runs went, and hand its request log settings to it."""
        ...

    async def call(
        self, app: str, method: int, body: bytes, timeout_s: float | None, trace: bytes = b""
    ) -> tuple[int, bytes]:
        """Answer a call that came through a Serve handle."""
        ...

    async def profile(self, app: str, order: RecordingOrder) -> tuple[int, bytes]:
        """Record a version's process; returns the file, or a code with its text."""
        ...

    async def end_profile(self, app: str, key: str) -> None:
        """End a recording of a version's process before its time."""
        ...

    async def metrics(self, app: str) -> bytes:
        """Return what a version's process has counted."""
        ...


class VersionHost(VersionProcesses):
    """The host of this node, as the only replica of its application."""

    def __init__(self, logs: LogSettings | None = None) -> None:
        context = ray.get_runtime_context()
        node = context.get_node_id()
        replica = serve.get_replica_context().replica_id.unique_id
        configure_logs(logs or LogSettings(), "host", replica)
        # Short, because the path of a socket is.
        sockets = Path(context.get_temp_dir(), context.get_session_name(), f"h{node[:8]}")
        # A worker's parent is the raylet of its node.
        super().__init__(
            HostNode(host_app(node), ray.util.get_node_ip_address(), node, str(session_logs()), sockets, os.getppid())
        )

    async def __del__(self) -> None:
        """Let all versions finish their calls and end."""
        if hasattr(self, "_versions"):
            await self.close()
