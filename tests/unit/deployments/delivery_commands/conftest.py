"""Running servers for tests of commands about rollouts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.delivery.plan import DeliverySettings, RolloutPlan, RolloutStep
from tests.support.admin_server import AdminServer
from tests.support.order_book import OrderBook
from tests.support.sites import M, Site

PLAN = RolloutPlan(
    (RolloutStep(mirror=10_000, bake_s=600.0), RolloutStep(weight=500, bake_s=600.0), RolloutStep(pause_s=math.inf))
)


@pytest.fixture
def planned() -> Iterator[AdminServer]:
    """A server of model `m` with a rollout plan, whose version 1 is stable; version 2 is in the first step."""
    site = Site((1,), configs=(replace(M, delivery=DeliverySettings(plan=PLAN)),))
    site.settle()
    site.source.write("/m", 2)
    site.settle()
    with AdminServer(site) as server:
        yield server


@pytest.fixture
def live() -> Iterator[AdminServer]:
    """A server of model `m` whose orders to rollouts go into a book."""
    site = Site((1, 2), configs=(replace(M, labels={"stable": 2}),))
    site.settle()
    with AdminServer(site) as server:
        server.orders = OrderBook()
        yield server
