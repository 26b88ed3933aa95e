"""The limits of models at one router: who is let in, and what is counted of it. `core.routing.admission` decides."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.errors import LimitReached
from core.routing.admission import Admission, Limit, Refusal, TrafficLimits
from core.routing.table import RoutingTable
from core.telemetry.metric_names import REFUSED_REQUESTS
from core.telemetry.metrics import Metrics


class ModelLimits:
    """Lets requests in, or refuses them; used on one event loop only.

    `by_model` is empty where no model has limits: whoever looks at it first pays nothing else.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._whole: dict[str, TrafficLimits] = {}
        self.by_model: dict[str, Admission] = {}

    def follow(self, table: RoutingTable, in_flight: Callable[[str], int]) -> None:
        """Take over the limits of a table; requests in work (`in_flight` of a model) stay counted."""
        now_s = self._clock()
        self._whole = {name: model.limits for name, model in table.models.items() if model.limits}
        for name in self.by_model.keys() - self._whole.keys():
            del self.by_model[name]
        for name, limits in self._whole.items():
            share = limits.share(table.routers)
            known = self.by_model.get(name)
            if known is None:
                self.by_model[name] = Admission(share, now_s, in_flight(name))
            else:
                known.change(share, now_s)

    def refusal(self, name: str) -> LimitReached | None:
        """Return the error for a request of a model that is not let in now, and count it; None where there is room."""
        admission = self.by_model.get(name)
        refused = None if admission is None else admission.refusal(self._clock())
        if refused is None:
            return None
        self._metrics.count(REFUSED_REQUESTS, name, refused.limit.value)
        return LimitReached(refusal_text(name, refused, self._whole[name]), refused.retry_after_s)

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


def refusal_text(name: str, refused: Refusal, limits: TrafficLimits) -> str:
    """Return what to tell whose request is not let in: which limit, and when to try again."""
    if refused.limit is Limit.RATE:
        what = f"{limits.max_requests_per_second:g} requests a second (max_requests_per_second)"
    else:
        what = f"{limits.max_in_flight} requests in work (max_in_flight)"
    return f"Model {name} is limited to {what}; try again in {refused.retry_after_s:.3g} s."
