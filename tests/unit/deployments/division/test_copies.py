"""Tests of the copies that a router sends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from core.comparison.copy_message import unpacked_copy
from core.comparison.pair_message import packed_report
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.pair_report import OutputPair, PairReport, PairResult
from core.delivery.split import WHOLE, ArmKey, Division, MirrorOrder, Tolerance
from core.errors import Code
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.routing.transport import Answer, Call, ConnectionLost, Method, Waiting
from core.telemetry.metric_names import MIRROR_FLIPS, MIRROR_REQUESTS
from core.telemetry.metrics import Metrics
from core.versions.servable import ServableId
from deployments.division.copies import MirrorCopies
from deployments.telemetry.spare_time import IDLE_CPUS, SpareTime

STABLE, CANARY = (Route.of(ServableId("m", version)) for version in (7, 8))
CALL = Call(Method.PREDICT, b"request", timeout_s=3.0, tensor_at=2)
ANSWER = Answer(Code.OK, b"answer")


class SentCopy:
    """A copy that was sent."""

    def __init__(self, route: Route, call: Call, waiting: Waiting) -> None:
        self.route = route
        self.call = call
        self.waiting = waiting
        self.is_withdrawn = False

    def withdraw(self) -> None:
        """Note that nobody waits any more."""
        self.is_withdrawn = True

    def report(self, report: PairReport) -> None:
        """Answer with a report."""
        self.waiting.set_result(Answer(Code.OK, packed_report(report)))


class Site:
    """Copies of a router's requests for one model, with a clock, time to spare and chance in the hands of the test."""

    def __init__(self) -> None:
        self.sent: list[SentCopy] = []
        self.takes_copies = True
        self.now_s = 100.0
        self.drawn = 0.0
        self.spare = StillTime()
        self.metrics = Metrics()
        self.waits: list[Callable[[], object]] | None = None
        draw, clock = lambda: self.drawn, lambda: self.now_s
        self.copies = MirrorCopies(self, self.metrics, draw, clock, self.spare, later=self.later)

    def later(self, work: Callable[..., object], *arguments: object) -> None:
        """Copy at once, unless the test lets it wait."""
        if self.waits is None:
            work(*arguments)
        else:
            self.waits.append(partial(work, *arguments))

    def begin_copy(self, route: Route, call: Call, waiting: Waiting) -> SentCopy | None:
        """Send a copy."""
        if not self.takes_copies:
            return None
        self.sent.append(SentCopy(route, call, waiting))
        return self.sent[-1]

    def follow(self, order: MirrorOrder | None, epoch: int = 1, routes: tuple[Route, ...] = (STABLE, CANARY)) -> None:
        """Put a division into use."""
        division = Division(((7, WHOLE),), epoch, mirror=order)
        by_version = {route.servable.version: route for route in routes}
        self.copies.follow(RoutingTable(1, {"m": ModelRoutes(routes=by_version, division=division)}))

    def answered(self, route: Route = STABLE, call: Call = CALL, answer: Answer = ANSWER) -> None:
        """Say that a request was answered."""
        self.copies.answered(route, call, answer, 0.01)

    @property
    def counts(self) -> MirrorCounts:
        """What is counted of the mirror."""
        (counts,) = self.copies.counts().values()
        return counts


class StillTime(SpareTime):
    """Time that does not change by itself; `looks` whether it was started."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_cpus = 2 * IDLE_CPUS
        self.looks = False

    def start(self) -> None:
        """Note the start."""
        self.looks = True

    def stop(self) -> None:
        """Note the stop."""
        self.looks = False


@pytest.fixture
def site() -> Site:
    """Give a router whose table has a mirror of all requests."""
    made = Site()
    made.follow(MirrorOrder(8, WHOLE))
    return made


def test_a_request_is_copied_in_a_later_turn_if_its_mirror_is_still_there(site: Site) -> None:
    """The answer goes out first; a table that comes between counts."""
    site.waits = []
    site.answered()
    site.answered()
    assert (len(site.waits), site.sent) == (2, [])
    site.waits[0]()
    assert len(site.sent) == 1

    site.follow(MirrorOrder(8, WHOLE), epoch=2)
    site.waits[1]()

    assert len(site.sent) == 1


def test_a_copy_has_the_request_the_answer_and_the_tolerances(site: Site) -> None:
    """The replica gets what it needs to answer and to compare, without the caller's deadline."""
    site.follow(MirrorOrder(8, WHOLE, tolerances={"scores": Tolerance(0.5, 0.25)}))
    site.answered()
    (sent,) = site.sent
    copy = unpacked_copy(sent.call.body)
    assert (sent.route, sent.call.method, sent.call.tensor_at) == (CANARY, Method.COMPARE, 2)
    assert (copy.call.method, copy.call.body, copy.answer) == (Method.PREDICT, b"request", b"answer")
    assert copy.tolerances == {"scores": Tolerance(0.5, 0.25)}


def test_the_share_of_copies_is_that_of_the_mirror(site: Site) -> None:
    """A request whose number is drawn below the share is copied, and no other."""
    site.follow(MirrorOrder(8, 1000))
    for drawn in (0.0, 0.0999, 0.1, 0.9):
        site.drawn = drawn
        site.answered()
    assert len(site.sent) == 2
    assert site.counts.dropped == 0


def test_only_good_answers_of_stable_are_copied(site: Site) -> None:
    """The canary's own answers are compared with nothing, and neither are errors."""
    site.answered(CANARY)
    site.answered(answer=Answer.error(Code.INVALID_ARGUMENT, "bad"))
    site.answered(Route.of(ServableId("other", 7)))
    assert not site.sent
    assert site.counts == MirrorCounts()


def test_stable_may_be_its_own_mirror(site: Site) -> None:
    """What differs by chance is measured by the same version."""
    site.follow(MirrorOrder(7, WHOLE))
    site.answered()
    assert site.sent[0].route == STABLE
    assert list(site.copies.counts()) == [ArmKey("m", 1, 7)]


def test_reports_are_counted_on_the_page_too(site: Site) -> None:
    """Results, distances and flips have metrics."""
    site.answered()
    site.answered()
    site.sent[0].report(PairReport(PairResult.IDENTICAL))
    site.sent[1].report(PairReport(PairResult.OUTSIDE, {"s": OutputPair(0.1, flipped_rows=3, outside=1.0)}))
    assert (site.counts.identical, site.counts.outside) == (1, 1)
    counters = site.metrics.snapshot().counters
    assert counters[MIRROR_REQUESTS.name] == {("m", "8", "identical"): 1, ("m", "8", "outside"): 1}
    assert counters[MIRROR_FLIPS.name] == {("m", "8", "s"): 3}


@pytest.mark.parametrize(
    "answer", [Answer.error(Code.UNIMPLEMENTED, "old"), Answer(Code.OK, b"garbage"), ConnectionLost("gone")]
)
def test_a_copy_without_a_report_is_dropped(site: Site, answer: Answer | ConnectionLost) -> None:
    """A lost connection, a late copy and a replica of another version of this program say nothing of the version."""
    site.answered()
    waiting = site.sent[0].waiting
    waiting.set_exception(answer) if isinstance(answer, Exception) else waiting.set_result(answer)
    assert waiting.done()
    assert (site.counts.dropped, site.counts.compared) == (1, 0)


def test_copies_are_bounded_and_dropped_beyond(site: Site) -> None:
    """A copy that finds no place is dropped and counted; there is a place again when one has ended."""
    site.follow(MirrorOrder(8, WHOLE, max_in_flight=2))
    for _ in range(5):
        site.answered()
    assert (len(site.sent), site.counts.dropped) == (2, 3)
    site.sent[0].report(PairReport(PairResult.IDENTICAL))
    site.answered()
    assert len(site.sent) == 3


def test_under_load_copies_are_the_first_to_go(site: Site) -> None:
    """While time is short there is one copy at a time, and a long rest after it."""
    site.spare.idle_cpus = 0.0
    site.answered()
    site.answered()
    assert (len(site.sent), site.counts.dropped) == (1, 1)
    site.now_s += 1.0
    site.sent[0].report(PairReport(PairResult.IDENTICAL))
    site.now_s += 49.0
    site.answered()
    assert len(site.sent) == 1
    site.now_s += 1.0
    site.answered()
    assert len(site.sent) == 2


def test_a_version_that_takes_no_copy_gets_none(site: Site) -> None:
    """No connection, or no route: the copy is dropped, and nobody waits."""
    site.takes_copies = False
    site.answered()
    site.follow(MirrorOrder(8, WHOLE), routes=(STABLE,))
    site.answered()
    assert (len(site.sent), site.counts.dropped) == (0, 2)


def test_counts_go_on_while_the_division_is_the_same(site: Site) -> None:
    """A newer table with the same division changes nothing; another epoch counts anew and withdraws what is open."""
    site.answered()
    site.answered()
    site.sent[0].report(PairReport(PairResult.IDENTICAL))
    site.follow(MirrorOrder(8, WHOLE))
    assert site.counts.identical == 1
    assert not site.sent[1].is_withdrawn
    site.follow(MirrorOrder(8, WHOLE), epoch=2)
    assert site.counts == MirrorCounts()
    assert site.sent[1].is_withdrawn


def test_the_end_withdraws_copies_and_measures_no_more(site: Site) -> None:
    """A router that drains waits for no copy."""
    site.answered()
    assert site.spare.looks
    site.copies.close()
    assert site.sent[0].is_withdrawn
    assert site.sent[0].waiting.done()
    assert not site.spare.looks
    site.answered()
    assert len(site.sent) == 1


def test_without_a_mirror_nothing_is_copied(site: Site) -> None:
    """A table without a mirror ends copying, and counting."""
    site.follow(None)
    site.answered()
    assert not site.sent
    assert site.copies.counts() == {}
    assert not site.spare.looks
