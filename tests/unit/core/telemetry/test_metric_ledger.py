"""Sums over processes that come and go."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.telemetry import metric_ledger
from core.telemetry.metric_ledger import (
    FOLDED_AFTER_S,
    FOLDED_EARLY_AFTER_S,
    GAUGES_LAST_S,
    NO_STAMP,
    Ledger,
    adopted,
    kept,
)
from core.telemetry.metric_names import CONFIG_PROBLEMS, LOAD_SECONDS, REQUEST_COUNT, SIGNATURE_REQUESTS, WARMUP_LATENCY
from core.telemetry.metric_report import Report
from core.telemetry.metrics import Metrics, MetricSnapshot

REQUESTS = REQUEST_COUNT.name


def report(process: str, number: int, requests: float = 0, problems: float | None = None) -> Report:
    """Return a report of a process that counted requests, and perhaps has a gauge."""
    gauges = {} if problems is None else {CONFIG_PROBLEMS.name: {(): problems}}
    return Report(process, number, MetricSnapshot({REQUESTS: {("m", "OK"): requests}}, gauges))


def requests(ledger: Ledger, now_s: float = 0.0) -> float:
    """Return the sum of requests."""
    return ledger.total(now_s).counters.get(REQUESTS, {}).get(("m", "OK"), 0)


def problems(ledger: Ledger, now_s: float) -> float | None:
    """Return the sum of the gauges, None if there are none."""
    return ledger.total(now_s).gauges.get(CONFIG_PROBLEMS.name, {}).get(())


def test_the_newest_reports_of_all_processes_add_up() -> None:
    """A later report of a process replaces its earlier one."""
    ledger = Ledger().after([report("a", 1, 5), report("b", 1, 7)], 0.0).after([report("a", 2, 6)], 1.0)

    assert requests(ledger) == 13


@pytest.mark.parametrize("number", [1, 2])
def test_late_and_repeated_reports_change_nothing(number) -> None:
    """Two routers ask the same model server, and their reports may overtake each other."""
    ledger = Ledger().after([report("a", 2, 6)], 0.0)

    assert ledger.after([report("a", number, 5)], 1.0) == ledger


def test_a_process_that_is_gone_still_counts() -> None:
    """Nobody has to know that it is gone, and folding it shows nowhere."""
    ledger = Ledger().after([report("a", 1, 5), report("b", 1, 7)], 0.0)
    later = ledger.after([report("b", 2, 8)], FOLDED_AFTER_S + 1)

    assert (requests(later), set(later.heard), later.folded) == (13, {"b"}, ("a",))


def test_what_was_folded_before_stays() -> None:
    """Process after process goes, and all of them count."""
    ledger = Ledger().after([report("a", 1, 5)], 0.0)
    ledger = ledger.after([report("b", 1, 7)], FOLDED_AFTER_S + 1)
    ledger = ledger.after([report("c", 1, 1)], 2 * FOLDED_AFTER_S + 2)

    assert (requests(ledger), set(ledger.heard), ledger.folded) == (13, {"c"}, ("a", "b"))


def test_a_folded_process_is_not_listened_to() -> None:
    """Its numbers are in the sum already and would count twice."""
    ledger = Ledger().after([report("a", 1, 5)], 0.0).after([], FOLDED_AFTER_S + 1)

    assert ledger.after([report("a", 2, 6)], FOLDED_AFTER_S + 2) == ledger


def test_gauges_end_with_their_process() -> None:
    """A queue of a process that was not heard for some time is no queue."""
    ledger = Ledger().after([report("a", 1, 5, problems=2), report("b", 1, 1, problems=1)], 0.0)
    ledger = ledger.after([report("a", 2, 5, problems=4)], GAUGES_LAST_S)

    assert problems(ledger, GAUGES_LAST_S) == 5
    assert problems(ledger, GAUGES_LAST_S + 1) == 4
    assert problems(ledger.after([], 2 * FOLDED_AFTER_S), 2 * FOLDED_AFTER_S) is None


def test_numbers_of_one_version_go_with_its_last_process() -> None:
    """Otherwise the page would grow with every rollout."""
    metrics = Metrics()
    metrics.count(REQUEST_COUNT, "m", "OK")
    metrics.count(SIGNATURE_REQUESTS, "m", "3", "serving_default", "Predict", "OK")
    metrics.observe(WARMUP_LATENCY, "/models/m/3", "OK", value=5.0)
    metrics.observe(LOAD_SECONDS, "m", value=5.0)
    ledger = Ledger().after([Report("a", 1, metrics.snapshot())], 0.0)

    total = ledger.after([], FOLDED_AFTER_S + 1).total(FOLDED_AFTER_S + 1)

    assert (set(total.counters), set(total.distributions)) == ({REQUEST_COUNT.name}, {LOAD_SECONDS.name})


def test_too_many_processes_are_folded_early(monkeypatch) -> None:
    """Those that are silent longest, and never one that was heard just now."""
    monkeypatch.setattr(metric_ledger, "MOST_PROCESSES", 2)
    ledger = Ledger().after([report("a", 1, 1)], 0.0).after([report("b", 1, 1)], 1.0)
    ledger = ledger.after([report("c", 1, 1), report("d", 1, 1)], 2.0)
    assert len(ledger.heard) == 4

    later = ledger.after([report("d", 2, 1)], FOLDED_EARLY_AFTER_S + 5)

    assert (set(later.heard), requests(later)) == ({"c", "d"}, 4)


def test_folded_processes_are_remembered_up_to_a_bound(monkeypatch) -> None:
    """The oldest are forgotten: they cannot be heard of again after so long."""
    monkeypatch.setattr(metric_ledger, "FOLDED_REMEMBERED", 2)
    ledger = Ledger().after([report(name, 1) for name in "abc"], 0.0)

    assert ledger.after([], FOLDED_AFTER_S + 1).folded == ("b", "c")


def test_a_new_writer_goes_on_from_the_newest_copy() -> None:
    """What routers kept brings back what is not reported any more."""
    old = Ledger(epoch=4).after([report("a", 1, 5, problems=1)], 0.0)
    new = old.after([report("a", 2, 6, problems=1), report("b", 1, 1)], 1.0).after(
        [report("b", 2, 2)], FOLDED_AFTER_S + 2
    )

    ledger = adopted(
        [kept(old), b"broken", kept(new), b'{"epoch": 9}', b'{"heard": [], "epoch": "x", "version": 1}'], 50.0
    )

    assert (ledger.epoch, ledger.version, requests(ledger), ledger.folded) == (5, 0, 8, ("a",))
    assert problems(ledger, 50.0) is None
    assert ledger.stamp > new.stamp


def test_the_first_writer_has_nothing_to_go_on_from() -> None:
    """Nobody has a copy."""
    assert adopted([], 0.0) == Ledger(epoch=1)
    assert adopted([], 0.0).stamp > NO_STAMP


def test_only_numbers_that_last_make_a_new_copy() -> None:
    """An idle server hands out nothing, although its gauges move."""
    ledger = Ledger().after([report("a", 1, 5, problems=1)], 0.0)

    assert ledger.after([report("a", 2, 5, problems=2)], 1.0).stamp == ledger.stamp
    assert ledger.after([report("a", 2, 6, problems=1)], 1.0).stamp > ledger.stamp


class Cluster(RuleBasedStateMachine):
    """Processes count, report and end in any order; the one who adds up is replaced; clients look at the sums.

    Two routers hand the sums on and keep the ledger that came with them. A router may end whenever the writer lives,
    and the writer whenever the router that showed the last sums lives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.counted: dict[str, float] = {"p0": 0}
        self.ever = 0
        self.numbers: Counter[str] = Counter()
        self.sent: list[Report] = []
        self.born = 1
        self.copies: dict[str, bytes] = {}
        self.showed = "r0"
        self.ledger = adopted([], 0.0)
        self.shown = 0.0

    def new_report(self, process: str) -> Report:
        self.numbers[process] += 1
        self.sent.append(report(process, self.numbers[process], self.counted[process], problems=1))
        return self.sent[-1]

    @rule()
    def a_process_starts(self) -> None:
        self.counted[f"p{self.born}"] = 0
        self.born += 1

    @precondition(lambda self: self.counted)
    @rule(data=st.data())
    def a_process_ends(self, data) -> None:
        del self.counted[data.draw(st.sampled_from(sorted(self.counted)))]

    @precondition(lambda self: self.counted)
    @rule(data=st.data(), by=st.integers(0, 5), arrives=st.booleans())
    def a_process_counts_and_reports(self, data, by, arrives) -> None:
        process = data.draw(st.sampled_from(sorted(self.counted)))
        self.counted[process] += by
        self.ever += by
        one = self.new_report(process)
        if arrives:
            self.ledger = self.ledger.after([one], self.now_s)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def a_report_arrives_late_or_again(self, data) -> None:
        self.ledger = self.ledger.after([data.draw(st.sampled_from(self.sent))], self.now_s)

    @rule(seconds=st.sampled_from([1.0, FOLDED_AFTER_S + 1]))
    def time_passes(self, seconds) -> None:
        """Whoever lives is heard every ten seconds; no report travels for long."""
        self.now_s += seconds
        self.sent = []
        self.ledger = self.ledger.after([self.new_report(process) for process in self.counted], self.now_s)

    @rule(router=st.sampled_from(["r0", "r1"]))
    def a_client_looks(self, router) -> None:
        """A router shows the sums and keeps the ledger."""
        self.shown, self.showed = requests(self.ledger, self.now_s), router
        self.copies[router] = kept(self.ledger)

    @rule()
    def the_writer_is_replaced(self) -> None:
        self.ledger = adopted(self.copies.values(), self.now_s)

    @precondition(lambda self: self.copies)
    @rule()
    def the_router_that_showed_the_sums_ends(self) -> None:
        """Within ten seconds the other one gets the ledger too, while the writer lives."""
        self.showed = "r1" if self.showed == "r0" else "r0"
        self.copies = {self.showed: kept(self.ledger)}

    @invariant()
    def nothing_falls(self) -> None:
        assert requests(self.ledger, self.now_s) >= self.shown

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert requests(self.ledger, self.now_s) <= self.ever


Cluster.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestCluster = Cluster.TestCase
