"""Answers requests about the list of models: reload, read, change.

An error is returned as a value: raised, it would be logged and wrapped on its way to the router.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.admin import messages as admin_messages
from core.admin.messages import ConfigChange
from core.admin.reload_request import is_settled, read_request, require_available, success
from core.errors import DeadlineExceeded, ServingError, Unavailable
from core.rollouts.orders import OrderVerb, RolloutOrder
from core.routing.server_state import why_missing
from core.routing.table import ModelRoutes
from deployments.config.models_in_force import A_REQUEST, Reloaded
from deployments.versions.reconciler import Reconciler
from deployments.versions.rollout_requests import PUBLISH_TIMEOUT_S, RolloutRequests, came_in_time

RELOAD_TIMEOUT_S = 300.0


class ConfigRequests:
    """Hands requests to the reconciler's configuration, and waits for the tick that applies them."""

    def __init__(self, watch: Reconciler, wake: Callable[[], None], rollouts: RolloutRequests | None = None) -> None:
        self._watch = watch
        self._rollouts = rollouts or RolloutRequests(watch, wake)
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
            if not await came_in_time(lambda: self._is_settled(reloaded), RELOAD_TIMEOUT_S):
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
            await self._end_rollouts(request, by)
            changed = self._configuration.change(
                request.config, request.expected_fingerprint, self._watch.table, by, is_forced=request.is_forced
            )
            self._wake()
            if not await came_in_time(lambda: self._is_published(changed.number), PUBLISH_TIMEOUT_S):
                raise DeadlineExceeded(
                    f"The change was accepted, but not every router confirmed it within {PUBLISH_TIMEOUT_S:.0f} s."
                )
        except ServingError as error:
            return error
        return admin_messages.change_answer(changed.fingerprint, self._watch.confirmed.generation)

    async def _end_rollouts(self, request: ConfigChange, by: str) -> None:
        """Abort the rollouts that a forced change touches, before it; one that is not forced is refused."""
        if request.is_forced:
            for name in self._configuration.conflicts(request, self._watch.table):
                await self._rollouts.ordered(name, RolloutOrder(OrderVerb.ABORT, by))

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
