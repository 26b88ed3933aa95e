"""Tests of what a router asks replicas about their outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from core.delivery.output_counts import Binning, OutputBins, OutputOrder, outputs_to_json
from core.delivery.split import WHOLE, Division, MirrorOrder
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.servable import ServableId
from deployments.division.observations import OutputObservations

STABLE, CANARY = (Route.of(ServableId("m", version)) for version in (7, 8))
BINS = OutputBins({"0": 3}, (1.0,), run=5)
OBSERVED = {"scores": Binning()}


class Replicas:
    """Two replicas of each application, of which the second one may be silent."""

    def __init__(self) -> None:
        self.orders: dict[str, OutputOrder] = {}
        self.said = outputs_to_json({"scores": BINS, "other": BINS})
        self.second = self.said
        self.meanwhile: OutputObservations | None = None

    async def observations(self, app: str, order: bytes, timeout_s: float) -> Mapping[str, bytes]:
        """Answer."""
        assert timeout_s > 0
        self.orders[app] = OutputOrder.of_json(order)
        if self.meanwhile is not None:
            self.meanwhile.follow(table(Division(((7, WHOLE),))))
        return {"one": self.said, "two": self.second} if self.second else {"one": self.said}


def table(division: Division | None) -> RoutingTable:
    """Make a table with two versions, of which a division may observe outputs."""
    return RoutingTable(1, {"m": ModelRoutes({7: STABLE, 8: CANARY}, division=division)})


def division(*weights: tuple[int, int], mirror: MirrorOrder | None = None) -> Division:
    """Make a division that observes an output."""
    return Division(weights, salt="m/rollout", mirror=mirror, observed=OBSERVED)


def asked(site: OutputObservations) -> None:
    """Ask once."""
    asyncio.run(site.ask())


def test_all_replicas_of_both_arms_are_asked() -> None:
    """What each said is kept by application, replica and output; other outputs are left out."""
    replicas = Replicas()
    site = OutputObservations(replicas)
    site.follow(table(division((7, 9000), (8, 1000))))
    asked(site)

    assert replicas.orders == {app: OutputOrder("m/rollout", OBSERVED) for app in (STABLE.app, CANARY.app)}
    assert site.counts() == {
        (route.app, replica, "scores"): BINS for route in (STABLE, CANARY) for replica in ("one", "two")
    }


def test_a_mirrored_version_is_asked_too() -> None:
    """Stable's first answers are known before the first step that divides."""
    replicas = Replicas()
    site = OutputObservations(replicas)
    site.follow(table(division((7, WHOLE), mirror=MirrorOrder(8, WHOLE))))
    asked(site)

    assert replicas.orders.keys() == {STABLE.app, CANARY.app}


def test_without_observed_outputs_nobody_is_asked() -> None:
    """And what was said before is forgotten."""
    replicas = Replicas()
    site = OutputObservations(replicas)
    site.follow(table(division((7, 9000), (8, 1000))))
    asked(site)
    replicas.orders.clear()
    site.follow(table(Division(((7, 9000), (8, 1000)))))
    asked(site)
    site.follow(table(None))
    asked(site)

    assert (replicas.orders, site.counts()) == ({}, {})


def test_a_silent_replica_keeps_what_it_said() -> None:
    """It counts on meanwhile, and says more the next time; garbage says nothing."""
    replicas = Replicas()
    site = OutputObservations(replicas)
    site.follow(table(division((7, WHOLE))))
    asked(site)
    replicas.second = b""
    replicas.said = b"garbage"
    asked(site)

    assert site.counts()[STABLE.app, "one", "scores"] == BINS
    assert site.counts()[STABLE.app, "two", "scores"] == BINS


def test_answers_to_an_older_order_are_dropped() -> None:
    """A table came while they were on their way."""
    replicas = Replicas()
    site = OutputObservations(replicas)
    site.follow(table(division((7, WHOLE))))
    replicas.meanwhile = site
    asked(site)

    assert site.counts() == {}
