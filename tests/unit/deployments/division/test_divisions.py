"""Tests of the divisions of a router: which version gets a request, what is counted for it, and what a new table keeps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from core.delivery.arm_counts import Tally
from core.delivery.choice import KEY_WINDOW_S
from core.delivery.split import WHOLE, ArmKey, Division, MirrorOrder
from core.errors import Code
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.telemetry.metric_names import SPLIT_REQUESTS
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.division.arm_meter import COLD_REQUESTS
from deployments.division.divisions import Divisions
from tests.support.fakes import FakeClock

ROUTES = {version: Route.of(ServableId("m", version)) for version in (6, 7, 8, 9)}
TENTH = Division(((7, 9_000), (8, 1_000)), epoch=3)
STICKY = replace(TENTH, salt="ranking:7f3a", header="x-user")
TO_CANARY = replace(STICKY, weights=((7, 0), (8, WHOLE)))


def table_of(division: Division | None, generation: int = 1, routes=ROUTES, **labels: int) -> RoutingTable:
    """Make a table of one model."""
    return RoutingTable(generation, {"m": ModelRoutes(routes, labels, division=division)}, settled=True)


class Site:
    """The divisions of one table."""

    def __init__(self, division: Division | None, routes=ROUTES, **labels: int) -> None:
        self.metrics, self.clock = Metrics(), FakeClock()
        self.divisions = Divisions(self.metrics, self.clock.steady_s)
        self.follow(division, routes, **labels)

    def follow(self, division: Division | None, routes=ROUTES, **labels: int) -> None:
        """Put another table into use."""
        self.table = table_of(division, 1, routes, **labels)
        self.divisions.follow(self.table)

    def choose(self, *fields: tuple[bytes, bytes], label: str | None = None) -> Route:
        """Choose the route of a request."""
        chooser = self.divisions.choosers.get(("m", label))
        return self.table.resolve("m", None, label) if chooser is None else chooser.choose(fields)

    def serve(self, *fields: tuple[bytes, bytes], label: str | None = None, code: Code = Code.OK) -> int:
        """Answer a request; return the version that got it."""
        route = self.choose(*fields, label=label)
        assert route.arm is not None
        route.arm.answered(code, 0.001)
        return route.servable.version

    def judged(self, version: int, epoch: int = 3) -> int:
        """Return how many requests of a version are judged."""
        return self.divisions.counts()[ArmKey("m", epoch, version)].judged.requests

    def shown(self, version: int, epoch: int = 3) -> int:
        """Return how many requests of a version are shown."""
        return self.divisions.counts()[ArmKey("m", epoch, version)].shown.requests


def user(name: str) -> tuple[bytes, bytes]:
    """Return the header of a user."""
    return (b"x-user", name.encode())


@pytest.mark.parametrize("division", [None, Division(((7, WHOLE),))])
def test_without_shares_nothing_is_divided(division: Division | None) -> None:
    """One weight only says which version is stable; nobody looks further."""
    site = Site(division)

    assert site.divisions.choosers == {}
    assert site.divisions.counts() == {}
    assert site.choose().arm is None
    assert site.choose().servable.version == (9 if division is None else 7)


def test_requests_are_divided_by_chance() -> None:
    """In proportion, one by one; only versions of the division get any."""
    site = Site(TENTH)

    got = Counter(site.serve() for _ in range(5_000))

    assert got.keys() == {7, 8}
    assert 350 < got[8] < 650
    assert (site.judged(7), site.judged(8)) == (got[7], got[8])


def test_the_requests_of_a_key_get_one_version() -> None:
    """In all routers, which do not ask each other."""
    one, two = Site(STICKY), Site(STICKY)
    users = [user(f"user-{number}") for number in range(500)]

    first = [one.serve(name) for name in users]

    assert [two.serve(name) for name in reversed(users)] == first[::-1]
    assert 20 < first.count(8) < 90


def test_a_key_keeps_its_canary_while_the_share_rises() -> None:
    """And is not asked again whether it wants another version."""
    site = Site(STICKY)
    users = [user(f"user-{number}") for number in range(500)]
    before = {name for name in users if site.serve(name) == 8}
    site.follow(replace(STICKY, epoch=4, weights=((7, 5_000), (8, 5_000))))

    after = {name for name in users if site.serve(name) == 8}

    assert before < after


@pytest.mark.parametrize("fields", [(), ((b"x-user", b""),), ((b"x-other", b"1"),)])
def test_a_request_without_its_key_is_divided_by_chance(fields) -> None:
    """An empty key is none: all who send it would be one user."""
    site = Site(replace(STICKY, weights=((7, 5_000), (8, 5_000))))

    got = Counter(site.serve(*fields) for _ in range(400))

    assert min(got[7], got[8]) > 100
    assert site.judged(7) + site.judged(8) == 400


def test_a_key_is_judged_once_in_a_window() -> None:
    """A user whose requests all fail is one failure."""
    site = Site(TO_CANARY)
    for _ in range(10):
        assert site.serve(user("ann"), code=Code.INTERNAL) == 8
    site.serve(user("bob"))
    assert (site.judged(8), site.shown(8)) == (2, 11)

    site.clock.advance(KEY_WINDOW_S)
    site.serve(user("ann"), code=Code.INTERNAL)

    counts = site.divisions.counts()[ArmKey("m", 3, 8)]
    assert (counts.judged.requests, counts.judged.server_errors) == (3, 2)
    assert (counts.shown.requests, counts.shown.server_errors) == (12, 11)


@pytest.mark.parametrize("header", [(b"grpc-previous-rpc-attempts", b"1"), (b"x-envoy-attempt-count", b"2")])
@pytest.mark.parametrize("division", [TENTH, STICKY], ids=["random", "sticky"])
def test_a_repeated_request_is_shown_and_not_judged(header, division: Division) -> None:
    """Its first attempt was judged already; it does not stand for its key either."""
    site = Site(division)
    version = site.serve(header, user("ann"))
    assert (site.judged(version), site.shown(version)) == (0, 1)

    if division.header:
        site.serve(user("ann"))
        assert site.judged(version) == 1


def test_a_choice_that_is_taken_back_counts_nothing() -> None:
    """Its request comes again on another way, and stands for its key there."""
    site = Site(TO_CANARY)
    first = site.choose(user("ann"))
    first.arm.take_back()

    site.serve(user("ann"))

    assert (site.judged(8), site.shown(8)) == (1, 1)


def test_a_choice_without_a_key_takes_back_no_key() -> None:
    """The key that came before has been judged, and would be so twice."""
    site = Site(TO_CANARY)
    site.serve(user("ann"))
    site.choose().arm.take_back()

    site.serve(user("ann"))

    assert (site.judged(8), site.shown(8)) == (1, 2)


def test_a_version_that_does_not_answer_here_gets_nothing() -> None:
    """A router whose table has no route to it must not fail its share of the requests."""
    site = Site(replace(TENTH, weights=((7, 0), (8, WHOLE))), {7: ROUTES[7], 9: ROUTES[9]})

    assert {site.serve() for _ in range(100)} == {7}


def test_another_version_stands_for_a_stable_one_that_is_gone() -> None:
    """Never an error while a version answers."""
    site = Site(TENTH, {8: ROUTES[8]})

    assert {site.serve() for _ in range(100)} == {8}
    assert site.judged(8) == 100


def test_a_model_without_any_version_is_not_divided() -> None:
    """The table says what is wrong."""
    assert Site(TENTH, {}).divisions.choosers == {}


BY_LABEL = replace(TENTH, labels={"live": ((6, 5_000), (9, 5_000)), "lost": ((1, WHOLE),)})


def test_requests_by_a_label_are_divided_if_the_label_is() -> None:
    """By shares of its own, of versions of its own; they are shown and not judged, as their shares differ."""
    site = Site(BY_LABEL, exact=9)

    got = Counter(site.serve(label="live") for _ in range(400))

    assert got.keys() == {6, 9}
    assert min(got.values()) > 100
    assert (site.judged(6), site.shown(6)) == (0, got[6])
    assert site.choose(label="exact").arm is None


def test_a_label_none_of_whose_versions_answers_is_not_divided() -> None:
    """The table says that its version is missing."""
    assert ("m", "lost") not in Site(BY_LABEL).divisions.choosers


def test_copies_are_wanted_of_requests_without_a_label_alone() -> None:
    """A mirror is for those that anybody may get."""
    mirrored = replace(BY_LABEL, mirror=MirrorOrder(8, 100))
    site = Site(mirrored)

    assert site.choose().arm.is_copied
    assert site.choose((b"x-envoy-attempt-count", b"2")).arm.is_copied
    assert not site.choose(label="live").arm.is_copied
    assert not Site(BY_LABEL).choose().arm.is_copied


def test_a_mirror_alone_counts_the_stable_version() -> None:
    """Its callers get nothing else."""
    site = Site(Division(((7, WHOLE),), epoch=3, mirror=MirrorOrder(8, WHOLE)))

    assert {site.serve() for _ in range(50)} == {7}
    assert site.judged(7) == 50


def test_counts_go_on_under_the_same_division() -> None:
    """Whatever else a new table changes; a new epoch begins at nothing."""
    site = Site(replace(TO_CANARY, header=""))
    site.serve()
    site.follow(replace(TO_CANARY, header=""), {**ROUTES, 10: Route.of(ServableId("m", 10))})
    site.serve()
    assert site.judged(8) == 2

    site.follow(replace(TO_CANARY, header="", epoch=4))

    assert site.divisions.counts().keys() == {ArmKey("m", 4, 7), ArmKey("m", 4, 8)}
    assert site.judged(8, epoch=4) == 0


def test_an_answer_that_comes_after_the_change_belongs_to_the_old_shares() -> None:
    """It would count for shares under which it was not chosen."""
    site = Site(TO_CANARY)
    route = site.choose()
    site.follow(replace(TO_CANARY, epoch=4))

    route.arm.answered(Code.INTERNAL, 0.001)

    assert site.judged(8, epoch=4) == 0


def test_keys_and_first_requests_outlive_a_change_of_shares() -> None:
    """A user is not judged twice in a window because a step began."""
    site = Site(TO_CANARY)
    site.serve(user("ann"))
    for _ in range(COLD_REQUESTS):
        site.serve()
    site.follow(replace(TO_CANARY, epoch=4))

    site.serve(user("ann"))
    site.serve()

    counts = site.divisions.counts()[ArmKey("m", 4, 8)]
    assert (counts.judged.requests, sum(counts.judged.latency)) == (1, 1)


def test_what_left_the_table_is_forgotten() -> None:
    """Rollouts come and go; memory does not grow with them."""
    site = Site(STICKY)
    site.serve(user("ann"))

    site.follow(None)

    assert site.divisions.counts() == {}
    assert (site.divisions._keys, site.divisions._warmth, site.divisions._meters) == ({}, {}, {})


def test_arms_are_named_in_metrics() -> None:
    """The first version is stable, all others are canaries."""
    site = Site(TO_CANARY)
    site.serve()
    site.follow(replace(TO_CANARY, weights=((7, WHOLE), (8, 0)), epoch=4))
    site.serve(code=Code.INTERNAL)

    assert site.metrics.snapshot().counters[SPLIT_REQUESTS.name] == {
        ("m", "8", "canary", "ok"): 1,
        ("m", "7", "stable", "server_error"): 1,
    }


def test_models_are_divided_apart() -> None:
    """Each has shares, keys and counts of its own."""
    site = Site(None)
    other = {1: Route.of(ServableId("n", 1)), 2: Route.of(ServableId("n", 2))}
    models = {
        "m": ModelRoutes(ROUTES, division=TO_CANARY),
        "n": ModelRoutes(other, division=Division(((1, 0), (2, WHOLE)), 1, header="x-user")),
        "plain": ModelRoutes({1: Route.of(ServableId("plain", 1))}),
    }
    site.divisions.follow(RoutingTable(2, models, settled=True))
    for name in ("m", "n"):
        site.divisions.choosers[name, None].choose([user("ann")]).arm.answered(Code.OK, 0.001)

    assert site.divisions.choosers.keys() == {("m", None), ("n", None)}
    assert {key: one.judged.requests for key, one in site.divisions.counts().items()} == {
        ArmKey("m", 3, 7): 0,
        ArmKey("m", 3, 8): 1,
        ArmKey("n", 1, 1): 0,
        ArmKey("n", 1, 2): 1,
    }
    assert site.divisions.counts()[ArmKey("m", 3, 7)].shown == Tally(latency=(0,) * 77)
