"""Tells replicas over Serve's handles that they are to stay while a rollout runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from ray.serve.handle import DeploymentHandle

from core.versions.servable import DEPLOYMENT
from deployments.delivery.held_replicas import HELD_FOR_S
from deployments.telemetry.serve_failures import SERVE_FAILURES, brief

log = logging.getLogger(__name__)

ANSWERED_WITHIN_S = 5.0


class HoldCalls:
    """A handle for each application that is held; everything runs on one loop."""

    def __init__(self) -> None:
        self._handles: dict[str, DeploymentHandle] = {}
        self._busy: set[str] = set()

    async def tell(self, apps: Collection[str]) -> None:
        """Tell these applications, and let go of the others; one that has not answered yet is left out."""
        for app in self._handles.keys() - set(apps) - self._busy:
            await self._handles.pop(app).shutdown_async()
        await asyncio.gather(*(self._tell(app) for app in set(apps) - self._busy))

    async def _tell(self, app: str) -> None:
        self._busy.add(app)
        if app not in self._handles:
            self._handles[app] = DeploymentHandle(DEPLOYMENT, app)
        try:
            told = self._handles[app].broadcast("hold", HELD_FOR_S).results_async()
            await asyncio.wait_for(told, ANSWERED_WITHIN_S)
        except SERVE_FAILURES as error:
            log.info("replicas_not_held app=%s error=%r", app, brief(error))
        finally:
            self._busy.discard(app)
