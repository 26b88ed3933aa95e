"""Asks replicas what they have counted of their outputs, while a division of the table wants outputs observed.

Every router asks every replica: each report says whose counts it has, so that the watcher takes none twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from core.delivery.output_counts import OutputBins, OutputOrder, outputs_of_json
from core.routing.table import ModelRoutes, RoutingTable

log = logging.getLogger(__name__)

ASK_EVERY_S: Final = 3.0
ASK_TIMEOUT_S: Final = 2.0


class AskedReplicas(Protocol):
    """Asks all connected replicas of an application."""

    async def observations(self, app: str, order: bytes, timeout_s: float) -> Mapping[str, bytes]:
        """Return the answers of those that answer in time, by replica."""
        ...


class OutputObservations:
    """What the replicas of the observed versions have counted; used on one event loop only."""

    def __init__(self, replicas: AskedReplicas) -> None:
        self._replicas = replicas
        self._orders: dict[str, OutputOrder] = {}
        self._counts: dict[tuple[str, str, str], OutputBins] = {}

    def follow(self, table: RoutingTable) -> None:
        """Take over which outputs a table wants observed; what others counted is forgotten."""
        self._orders = {}
        for name, model in table.models.items():
            self._orders |= _orders_of(name, model)
        self._counts = {key: bins for key, bins in self._counts.items() if key[0] in self._orders}

    def counts(self) -> Mapping[tuple[str, str, str], OutputBins]:
        """Return what each replica said last, by application, replica and output."""
        return self._counts

    async def ask_regularly(self) -> None:
        """Ask while there is anything to ask for; never ends."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            await self.ask()

    async def ask(self) -> None:
        """Ask all replicas once. One that does not answer keeps what it said before."""
        orders = dict(self._orders)
        await asyncio.gather(*(self._ask(app, order) for app, order in orders.items()))

    async def _ask(self, app: str, order: OutputOrder) -> None:
        answers = await self._replicas.observations(app, order.to_json(), ASK_TIMEOUT_S)
        if self._orders.get(app) is not order:
            return  # a newer table wants something else
        said = {
            (app, replica, output): bins
            for replica, raw in answers.items()
            for output, bins in outputs_of_json(raw).items()
            if output in order.outputs
        }
        self._counts = {**self._counts, **said}  # replaced, because reports hold it


def _orders_of(name: str, model: ModelRoutes) -> dict[str, OutputOrder]:
    """Return the order for each application that answers for a version of a division."""
    division = model.division
    if division is None or not division.observed:
        return {}
    order = OutputOrder(division.salt or name, division.observed)
    mirrored = {division.mirror.version} if division.mirror is not None else set()
    versions = {version for version, _ in division.weights} | mirrored
    return {route.app: order for version, route in model.routes.items() if version in versions}
