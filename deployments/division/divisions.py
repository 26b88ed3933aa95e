"""The divisions of a router's table: they choose the version of a request, and count for each version."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from core.delivery.arm_counts import ArmCounts
from core.delivery.choice import KeysSeen, Shares, is_first_attempt, key_hash, shares_of
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.split import WHOLE, ArmKey, Division
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call
from core.telemetry.metrics import Metrics
from deployments.division.arm_meter import ArmMeter, JudgedArm, ShownArm, Warmth
from deployments.division.request_headers import Fields, by_name

STABLE, CANARY = "stable", "canary"
"""The arms in metrics: the first version of a division, and all others."""


class Copies(Protocol):
    """Sends copies of answered requests to a version whose answers nobody gets, and counts how they compare."""

    def follow(self, table: RoutingTable) -> None:
        """Take over the mirrors of a table that was put into use."""

    def answered(self, route: Route, call: Call, answer: Answer, took_s: float) -> None:
        """Take note of a request without version and label whose answer is on its way to the caller.

        Called for each one while the division of its model has a mirror, before the answer goes out: what takes time is
        for a later turn of the loop. `route` is that of the version that answered, also with an error. Must not raise.
        """

    def counts(self) -> Mapping[ArmKey, MirrorCounts]:
        """Return what was counted since this router began, of the mirrors of its table."""
        ...


class _Routes(NamedTuple):
    """The route to a version, for requests that are judged and for others."""

    judged: Route
    shown: Route


class Chooser:
    """Chooses the version of each request of a model, or of one of its labels."""

    __slots__ = ("_clock", "_header", "_keys", "_routes", "_salt", "_shares")

    def __init__(
        self,
        shares: Shares,
        routes: Mapping[int, _Routes],
        division: Division,
        keys: KeysSeen,
        clock: Callable[[], float],
    ) -> None:
        self._shares = shares
        self._routes = routes
        self._header = division.header.encode("latin-1", "replace")
        self._salt = division.salt.encode("utf-8", "replace")
        self._keys = keys
        self._clock = clock

    def choose(self, fields: Fields) -> Route:
        """Return the route of a request with these headers; it counts how the request ends."""
        headers = by_name(fields)
        key = headers.get(self._header)
        is_judged = is_first_attempt(headers)
        if key:
            number = key_hash(self._salt, key)
            bucket: float = number % WHOLE
            is_judged = is_judged and self._keys.is_first(number, self._clock())
        else:
            if self._header:
                self._keys.pass_over()
            bucket = random.random() * WHOLE  # noqa: S311 - shares, not secrets
        routes = self._routes[self._shares.version_at(bucket)]
        return routes.judged if is_judged else routes.shown


class Divisions:
    """The divisions of the table in use; used on one event loop only.

    `choosers` is empty where no model has a division that is counted: whoever looks at it first pays nothing else. It
    has them by model and label; None for requests without a label.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._meters: dict[ArmKey, ArmMeter] = {}
        self._warmth: dict[tuple[str, int], Warmth] = {}
        self._keys: dict[str, KeysSeen] = {}
        self.choosers: dict[tuple[str, str | None], Chooser] = {}

    def follow(self, table: RoutingTable) -> None:
        """Take over the divisions of a table; what was counted under the same ones goes on."""
        meters, warmth, keys = self._meters, self._warmth, self._keys
        self._meters, self._warmth, self._keys = {}, {}, {}
        self.choosers.clear()
        for name, model in table.models.items():
            division = model.division
            if division is None or not division.is_counted or model.latest is None:
                continue
            self._keys[name] = keys.get(name) or KeysSeen()
            for version in division.versions | {model.latest.servable.version}:
                key = ArmKey(name, division.epoch, version)
                warm = self._warmth[name, version] = warmth.get((name, version)) or Warmth()
                arm = STABLE if version == division.stable else CANARY
                self._meters[key] = meters.get(key) or ArmMeter(key, arm, warm, self._metrics)
            self._divide(name, model, division, model.latest)

    def _divide(self, name: str, model: ModelRoutes, division: Division, latest: Route) -> None:
        """Make the choosers of a model; without a label first, of which alone something is judged or copied."""
        whole, by_label = {}, {}
        for version in division.versions | {latest.servable.version}:
            route = model.routes.get(version)
            if route is None:
                continue
            meter = self._meters[ArmKey(name, division.epoch, version)]
            shown = ShownArm(meter, is_copied=division.mirror is not None)
            judged = JudgedArm(meter, self._keys[name], shown)
            whole[version] = _Routes(route.counted_by(judged), route.counted_by(shown))
            by_label[version] = _Routes(*[route.counted_by(ShownArm(meter))] * 2)
        self._add(name, None, shares_of(division.weights, model.routes, latest.servable.version), whole, division)
        for label, weights in division.labels.items():
            first = model.version_of(label)
            if first is not None and first in model.routes:
                self._add(name, label, shares_of(weights, model.routes, first), by_label, division)

    def _add(
        self, name: str, label: str | None, shares: Shares, routes: Mapping[int, _Routes], division: Division
    ) -> None:
        self.choosers[name, label] = Chooser(shares, routes, division, self._keys[name], self._clock)

    def counts(self) -> dict[ArmKey, ArmCounts]:
        """Return what was counted since this router began, of the divisions in use."""
        return {key: meter.counts() for key, meter in self._meters.items()}
