"""Answers orders to rollouts: hands them to the tick, and waits until every router has what follows from them.

An error is returned as a value: raised, it would be logged and wrapped on its way to the router.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from core.admin.delivery_messages import RolloutAnswer, RolloutRequest, read_rollout_request, rollout_answer
from core.delivery.rollout_record import RolloutRecord
from core.errors import DeadlineExceeded, NotFound, ServingError, Unavailable
from core.rollouts.orders import OrderVerb, RolloutOrder
from core.rollouts.record_json import record_to_json
from deployments.config.models_in_force import A_REQUEST
from deployments.delivery.rollouts import OrderOutcome
from deployments.versions.reconciler import Reconciler

TICK_TIMEOUT_S = 30.0
PUBLISH_TIMEOUT_S = 30.0
LOOK_EVERY_S = 0.05


class RolloutRequests:
    """Hands orders to the reconciler's rollouts."""

    def __init__(self, watch: Reconciler, wake: Callable[[], None]) -> None:
        self._watch = watch
        self._wake = wake

    async def change(self, raw: bytes, by: str = A_REQUEST) -> bytes | ServingError:
        """Carry out a ChangeRolloutRequest; answers when every router has the table that follows from it."""
        try:
            request = read_rollout_request(raw)
            self._require_model(request.model)
            if not request.verb:
                return _answer(self._watch.rollouts.record(request.model))
            outcome = await self.ordered(request.model, order_of(request, by))
        except ServingError as error:
            return error
        return _answer(outcome.record, outcome.text)

    async def ordered(self, model: str, order: RolloutOrder) -> OrderOutcome:
        """Give an order, and wait until every router has what follows; raises ServingError."""
        answer = self._watch.rollouts.order(model, order)
        self._wake()
        try:
            outcome = await asyncio.wait_for(asyncio.wrap_future(answer), TICK_TIMEOUT_S)
        except TimeoutError:
            raise DeadlineExceeded(f"The watcher has not taken the order within {TICK_TIMEOUT_S:.0f} s.") from None
        if not await came_in_time(lambda: self._is_published(model, outcome.record), PUBLISH_TIMEOUT_S):
            raise DeadlineExceeded(
                f"The order was accepted, but not every router confirmed it within {PUBLISH_TIMEOUT_S:.0f} s."
            )
        return outcome

    def _require_model(self, model: str) -> None:
        in_force = self._watch.configuration.in_force()
        if in_force is None:
            raise Unavailable("No list of models could be read yet.")
        if all(one.name != model for one in in_force.models):
            raise NotFound(f"There is no model {model}.")

    def _is_published(self, model: str, record: RolloutRecord) -> bool:
        routes = self._watch.confirmed.models.get(model)
        return routes is not None and routes.delivery.generation >= record.generation


def order_of(request: RolloutRequest, by: str) -> RolloutOrder:
    """Return a request as an order."""
    return RolloutOrder(
        OrderVerb(request.verb),
        by,
        version=request.version,
        is_full=request.full,
        traffic=request.traffic,
        mirror=request.mirror,
        generation=request.expected_generation,
        is_forced=request.force,
    )


def _answer(record: RolloutRecord, text: str = "") -> bytes:
    return rollout_answer(RolloutAnswer(record.generation, record_to_json(record), text))


async def came_in_time(is_done: Callable[[], bool], timeout_s: float) -> bool:
    """Wait for something; returns whether it came in time."""
    ends_at = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > ends_at:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True
