"""The limits of models at one router: who is let in, and what is counted of it. `core.routing.admission` decides.

Refusals are many where they are needed: their answers are made once, and what each costs is a look at the limits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from core.errors import Code
from core.routing.admission import Admission, Limit, Refusal, TrafficLimits, limit_text
from core.routing.table import RoutingTable
from core.routing.transport import Answer
from core.telemetry.metric_names import REFUSED_REQUESTS
from core.telemetry.metrics import Counter, Metrics

STEP_S: Final = 0.1
"""Times after which to try again are rounded up to steps: earlier there is room for hardly any of those that wait."""

MOST_ANSWERS: Final = 100
"""Answers that are kept of each model."""


class ModelLimits:
    """Lets requests in, or refuses them; used on one event loop only.

    `by_model` is empty where no model has limits: whoever looks at it first pays nothing else.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._whole: dict[str, TrafficLimits] = {}
        self._refused: dict[str, _Refused] = {}
        self.by_model: dict[str, Admission] = {}

    def follow(self, table: RoutingTable, in_flight: Callable[[str], int]) -> None:
        """Take over the limits of a table; requests in work (`in_flight` of a model) stay counted."""
        now_s = self._clock()
        whole = {name: model.limits for name, model in table.models.items() if model.limits}
        for name in self.by_model.keys() - whole.keys():
            del self.by_model[name], self._refused[name]
        for name, limits in whole.items():
            share = limits.share(table.routers)
            known = self.by_model.get(name)
            if known is None:
                self.by_model[name] = Admission(share, now_s, in_flight(name))
            else:
                known.change(share, now_s)
            if limits != self._whole.get(name):
                self._refused[name] = _Refused(name, limits, self._metrics)
        self._whole = whole

    def refusal(self, name: str) -> Answer | None:
        """Return the answer to a request of a model that is not let in now, and count it; None where there is room."""
        admission = self.by_model.get(name)
        refused = None if admission is None else admission.refusal(self._clock())
        return None if refused is None else self._refused[name].answer(refused)

    def is_full(self, name: str) -> bool:
        """Whether a request of a model would be refused now; it is not counted as refused."""
        admission = self.by_model.get(name)
        return admission is not None and admission.refusal(self._clock()) is not None

    def began(self, name: str) -> None:
        """Let a request in for which `refusal` has found room in the same turn of the loop."""
        admission = self.by_model.get(name)
        if admission is not None:
            admission.admit(self._clock())

    def ended(self, name: str) -> None:
        """Count a request that was let in as no longer in work."""
        admission = self.by_model.get(name)
        if admission is not None:
            admission.ended()


class _Refused:
    """The answers to requests of one model that are not let in, and their count."""

    def __init__(self, name: str, limits: TrafficLimits, metrics: Metrics) -> None:
        self._texts = {
            Limit.RATE: f"Model {name} is limited to {limit_text(limits.max_requests_per_second)} requests a second "
            "(max_requests_per_second); try again later.",
            Limit.IN_FLIGHT: f"Model {name} is limited to {limits.max_in_flight} requests in work (max_in_flight); "
            "try again later.",
        }
        self._counts: dict[Limit, Counter] = {one: metrics.counter(REFUSED_REQUESTS, name, one.value) for one in Limit}
        self._answers: dict[tuple[Limit, int], Answer] = {}

    def answer(self, refused: Refusal) -> Answer:
        """Count a refused request; return its answer."""
        self._counts[refused.limit].add()
        key = refused.limit, math.ceil(refused.retry_after_s / STEP_S)
        return self._answers.get(key) or self._new_answer(*key)

    def _new_answer(self, limit: Limit, steps: int) -> Answer:
        answer = Answer(
            Code.RESOURCE_EXHAUSTED, self._texts[limit].encode("utf-8", "replace"), round(steps * STEP_S, 1)
        )
        if len(self._answers) < MOST_ANSWERS:
            self._answers[limit, steps] = answer
        return answer
