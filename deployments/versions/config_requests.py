"""Answers requests about the list of models: reload, read, change.

An error is returned as a value: raised, it would be logged and wrapped on its way to the router.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from core.admin import messages as admin_messages
from core.admin.reload_request import is_settled, read_request, require_available, success
from core.errors import DeadlineExceeded, ServingError, Unavailable
from core.routing.server_state import why_missing
from core.routing.table import ModelRoutes
from deployments.config.models_in_force import A_REQUEST, Reloaded
from deployments.versions.reconciler import Reconciler

RELOAD_TIMEOUT_S = 300.0
PUBLISH_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.05


class ConfigRequests:
    """Hands requests to the reconciler's configuration, and waits for the tick that applies them."""

    def __init__(self, watch: Reconciler, wake: Callable[[], None]) -> None:
        self._watch = watch
        self._configuration = watch.configuration
        self._wake = wake

    async def reload(self, raw: bytes, by: str = A_REQUEST) -> bytes | ServingError:
        """Apply a HandleReloadConfigRequest.

        Answers when every added model answers at every router, failed, or has nothing to load.
        """
        try:
            request = read_request(raw)
            reloaded = self._configuration.reload(request.config, self._watch.table, by)
            self._wake()
            if not await _until(lambda: self._is_settled(reloaded), RELOAD_TIMEOUT_S):
                raise DeadlineExceeded(self._late(reloaded))
            require_available(self._watch.confirmed, reloaded.added)
        except ServingError as error:
            return error
        return success(request)

    async def get(self, raw: bytes) -> bytes | ServingError:
        """Return the list of models in force, and its aspired versions."""
        del raw
        in_force = self._configuration.in_force()
        if in_force is None:
            return Unavailable("No list of models could be read yet.")
        return admin_messages.config_answer(
            in_force.models,
            self._configuration.files(),
            in_force.fingerprint,
            admin_messages.wanted_versions(self._watch.table),
            is_requested=in_force.is_requested,
        )

    async def change(self, raw: bytes, by: str = A_REQUEST) -> bytes | ServingError:
        """Put another list in force; answers when every router has it, so that the change outlives this process."""
        try:
            request = admin_messages.read_change_request(raw)
            changed = self._configuration.change(request.config, request.expected_fingerprint, self._watch.table, by)
            self._wake()
            if not await _until(lambda: self._is_published(changed.number), PUBLISH_TIMEOUT_S):
                raise DeadlineExceeded(
                    f"The change was accepted, but not every router confirmed it within {PUBLISH_TIMEOUT_S:.0f} s."
                )
        except ServingError as error:
            return error
        return admin_messages.change_answer(changed.fingerprint, self._watch.confirmed.generation)

    def _is_settled(self, reloaded: Reloaded) -> bool:
        return self._is_published(reloaded.number) and is_settled(self._watch.confirmed, reloaded.added)

    def _late(self, reloaded: Reloaded) -> str:
        """Return why a reload was not answered in time: what each model waits for, or that a router is late."""
        models = self._watch.table.models
        reasons = [
            f"{name}: {why_missing(models[name])}" for name in sorted(reloaded.added) if not _answers(models, name)
        ]
        text = f"The models {sorted(reloaded.added)} were not loaded within {RELOAD_TIMEOUT_S:.0f} s."
        return " ".join([text, "; ".join(reasons) or "Not every router has confirmed the new routing table yet."])

    def _is_published(self, number: int) -> bool:
        return self._watch.published_number >= number


def _answers(models: Mapping[str, ModelRoutes], name: str) -> bool:
    return name not in models or bool(models[name].routes)


async def _until(is_done: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for something; returns whether it came in time."""
    ends_at = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > ends_at:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True
