"""Tests of when the signatures of two versions are compared."""

from __future__ import annotations

from collections.abc import Collection

from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.lifecycle import State
from core.versions.record import VersionRecord
from core.versions.servable import ServableId
from deployments.delivery.model_sights import TickLook
from deployments.delivery.signature_watch import TOLD_WITHIN_S, SignatureWatch
from tests.support.sites import M

SEVEN, EIGHT = (Route.of(ServableId("m", number)) for number in (7, 8))


class Signatures:
    """Answers what the test says; a version that was never asked while it ran cannot be compared."""

    def __init__(self, found: tuple[str, ...] | None = ()) -> None:
        self.found = found
        self.asked: list[tuple[Route, Route]] = []
        self.kept: frozenset[Route] = frozenset()

    def problems(self, old: Route, new: Route) -> tuple[str, ...] | None:
        self.asked.append((old, new))
        return () if old == new else self.found

    def outputs(self, route: Route) -> frozenset[str]:
        return frozenset({f"of {route.servable.version}"})

    def keep(self, routes: Collection[Route]) -> None:
        self.kept = frozenset(routes)


def look(now_s: float = 0.0, routed=(7,), **states: State) -> TickLook:
    """Return what a tick saw of versions given as `v7=State.AVAILABLE`."""
    servables = {ServableId("m", int(key[1:])): state for key, state in states.items()}
    records = {one: VersionRecord(one, "/m", state) for one, state in servables.items()}
    routes = {number: Route.of(ServableId("m", number)) for number in routed}
    table = RoutingTable(1, {"m": ModelRoutes(routes)})
    return TickLook((M,), {}, {}, records, table, table, now_s, now_s)


ONE = look(v7=State.AVAILABLE)
COMES = look(v7=State.AVAILABLE, v8=State.LOADING)
BOTH = look(routed=(7, 8), v7=State.AVAILABLE, v8=State.AVAILABLE)
AFTER = look(routed=(8,), v7=State.UNLOADING, v8=State.AVAILABLE)


def test_a_version_alone_is_asked_nothing() -> None:
    """Many models at rest cost nothing."""
    signatures = Signatures()

    assert SignatureWatch(signatures).follow(ONE) == {}

    assert signatures.asked == []


def test_the_old_version_is_asked_while_the_new_one_loads() -> None:
    """It may go in the moment in which the new one answers."""
    signatures = Signatures(("input x is missing",))
    watch = SignatureWatch(signatures)

    assert watch.follow(COMES) == {}
    assert signatures.asked == [(SEVEN, SEVEN)]
    assert signatures.kept == {SEVEN}

    assert watch.follow(AFTER) == {"m": ("input x is missing",)}
    assert signatures.asked[-1] == (SEVEN, EIGHT)
    assert watch.follow(look(routed=(8,), v8=State.AVAILABLE)) == {"m": ("input x is missing",)}
    assert signatures.kept == frozenset()


def test_the_outputs_of_a_canary_are_known_with_the_difference() -> None:
    """They stay known when the versions need not be asked any more; those of another pair are not its."""
    watch = SignatureWatch(Signatures())
    watch.follow(COMES)
    assert watch.outputs("m", 7, 8) == frozenset()

    watch.follow(BOTH)

    assert watch.outputs("m", 7, 8) == {"of 8"}
    assert watch.outputs("m", 7, 9) == watch.outputs("n", 7, 8) == frozenset()


def test_an_answer_that_takes_time_is_waited_for() -> None:
    """Also while nothing else changes."""
    signatures = Signatures(None)
    watch = SignatureWatch(signatures)
    assert watch.follow(BOTH) == {}

    signatures.found = ("output y has another type",)

    assert watch.follow(BOTH) == {"m": ("output y has another type",)}
    asked = len(signatures.asked)
    watch.follow(BOTH)
    assert len(signatures.asked) == asked


def test_a_canary_is_compared_with_stable() -> None:
    """Which need not be the version below it; nothing is known before both have answered."""
    signatures = Signatures(None)
    watch = SignatureWatch(signatures)
    assert watch.problems("m", 0, 8, BOTH) is None
    assert watch.problems("m", 7, 8, BOTH) is None

    signatures.found = ()
    watch.follow(BOTH)

    assert watch.problems("m", 7, 8, BOTH) == ()


def test_versions_that_tell_nothing_hold_nobody_up_for_ever() -> None:
    """A platform may have no signatures."""
    watch = SignatureWatch(Signatures(None))
    states = {"v7": State.AVAILABLE, "v8": State.AVAILABLE}
    watch.problems("m", 7, 8, look(0.0, (7, 8), **states))

    watch.follow(look(TOLD_WITHIN_S, (7, 8), **states))
    assert watch.problems("m", 7, 8, BOTH) is None
    watch.follow(look(TOLD_WITHIN_S + 1.0, (7, 8), **states))

    assert watch.problems("m", 7, 8, BOTH) == ()


def test_what_a_former_watcher_found_stays_until_a_newer_version_comes() -> None:
    """Or the model goes."""
    changed = RoutingTable(1, {"m": ModelRoutes({8: EIGHT}, signature_changes=("input x is missing",))})
    watch = SignatureWatch(Signatures())
    watch.adopt(changed)

    assert watch.follow(look(routed=(8,), v8=State.AVAILABLE)) == {"m": ("input x is missing",)}
    nine = look(routed=(8, 9), v8=State.AVAILABLE, v9=State.AVAILABLE)
    assert watch.follow(nine) == {}


def test_a_model_that_is_gone_is_forgotten() -> None:
    """With what was found of it."""
    watch = SignatureWatch(Signatures(("input x is missing",)))
    watch.follow(BOTH)

    assert watch.follow(TickLook((), {}, {}, {}, RoutingTable(2), RoutingTable(2), 1.0, 1.0)) == {}


def test_without_anybody_to_ask_nothing_differs() -> None:
    """A rollout goes on without."""
    watch = SignatureWatch()

    assert watch.follow(BOTH) == {}
    assert watch.problems("m", 7, 8, BOTH) == ()
