"""The record of one rollout in memory, which takes orders as the watcher does: what commands about rollouts talk to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from core.admin.delivery_messages import RolloutAnswer, RolloutRequest, read_rollout_request, rollout_answer
from core.errors import Aborted, ServingError


class OrderBook:
    """Notes orders; `refusal` is what the next ones fail with, `before_order` happens before each is looked at."""

    def __init__(self) -> None:
        self.record: dict[str, Any] = {"rollout": "r1", "stable": 7, "canary": 8, "phase": "step", "step": 1}
        self.generation = 5
        self.orders: list[RolloutRequest] = []
        self.refusal: ServingError | None = None
        self.before_order: Callable[[], None] = lambda: None
        self.text = "done"

    async def answer(self, raw: bytes) -> bytes:
        """Answer ChangeRollout."""
        asked = read_rollout_request(raw)
        if asked.verb:
            self.before_order()
            if self.refusal is not None:
                raise self.refusal
            if asked.expected_generation not in {None, self.generation}:
                raise Aborted(f"The record has generation {self.generation}.")
            self.orders.append(asked)
            self.generation += 1
        return rollout_answer(RolloutAnswer(self.generation, json.dumps(self.record), self.text if asked.verb else ""))
