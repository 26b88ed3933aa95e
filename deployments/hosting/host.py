"""The Serve deployment of a node's version host, and what the watcher and the routers ask it.

Its application is named `core.versions.hosted.host_app(node)`. Every method is idempotent: the watcher repeats what it
did not see answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from core.config.model_config import LoggingConfig
from core.routing.transport import Endpoint
from core.versions.servable_spec import ServableSpec
from core.versions.world import AppObservation


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

    async def profile(self, app: str, seconds: float) -> tuple[int, bytes]:
        """Record a version's process; returns a file for Perfetto, or a code with its text."""
        ...

    async def metrics(self, app: str) -> bytes:
        """Return what a version's process has counted."""
        ...
