"""The one place where numbers are added up."""

from __future__ import annotations

from core.telemetry.metric_ledger import FOLDED_AFTER_S, NO_STAMP
from core.telemetry.metric_names import REQUEST_COUNT, SIGNATURE_REQUESTS
from core.telemetry.metric_report import Report, to_bytes
from core.telemetry.metrics import MetricSnapshot
from deployments.telemetry.collector import LONGEST_STEP_S, ROUTER_LEAVES_AFTER_S, SAMPLE_EVERY_S, Collector
from tests.support.fakes import FakeClock

NAME = ":tensorflow:serving:request_count"


def report(process: str, number: int, requests: int) -> bytes:
    """Return a report of a process that counted requests."""
    return to_bytes(Report(process, number, MetricSnapshot({REQUEST_COUNT.name: {("collected", "OK"): requests}})))


class Site:
    """A collector with a clock in hand."""

    def __init__(self, *copies: bytes) -> None:
        self.clock = FakeClock()
        self.collector = Collector(self.clock.steady_s)
        self.collector.adopt(copies)

    @property
    def requests(self) -> str:
        collected = self.collector.collected(NO_STAMP, with_page=True)
        assert collected is not None
        lines = [
            line for line in collected.page.decode().splitlines() if line.startswith(f'{NAME}{{model_name="collected"')
        ]
        return lines[0].rpartition(" ")[2] if lines else "0"

    def copy(self) -> bytes:
        collected = self.collector.collected(NO_STAMP, with_page=False)
        assert collected is not None
        assert collected.copy is not None
        return collected.copy.ledger


def test_nothing_is_returned_before_the_past_is_known() -> None:
    """Sums without what other processes counted before would be too small."""
    collector = Collector()
    collector.take([report("a", 1, 5)])

    assert not collector.is_ready
    assert collector.collected(NO_STAMP, with_page=True) is None


def test_reports_add_up() -> None:
    """One that cannot be read is left out."""
    site = Site()

    site.collector.take([report("a", 1, 5), b"garbage", report("b", 1, 7)])

    assert site.collector.is_ready
    assert site.requests == "12"


def test_a_new_collector_goes_on_from_what_routers_keep() -> None:
    """Although the process that counted is gone."""
    before = Site()
    before.collector.take([report("a", 1, 5)])

    after = Site(before.copy())

    assert after.requests == "5"


def test_a_copy_is_given_to_those_who_lack_the_newest() -> None:
    """A page is given on demand only."""
    site = Site()
    site.collector.take([report("a", 1, 5)])
    first = site.collector.collected(NO_STAMP, with_page=False)
    assert first is not None
    assert first.copy is not None
    assert first.page == b""

    again = site.collector.collected(first.copy.stamp, with_page=False)
    site.collector.take([report("a", 2, 6)])
    changed = site.collector.collected(first.copy.stamp, with_page=False)

    assert again is not None
    assert again.copy is None
    assert changed is not None
    assert changed.copy is not None


def test_a_collector_that_was_stopped_for_long_forgets_nobody() -> None:
    """While it stood still nobody could be heard."""
    site = Site()
    site.collector.take([report("a", 1, 5), report("b", 1, 1)])
    site.clock.advance(2 * FOLDED_AFTER_S)

    site.collector.take([report("a", 2, 6)])
    site.collector.take([report("b", 2, 2)])

    assert site.requests == "8"


def test_a_silent_process_is_forgotten_in_the_end() -> None:
    """Its numbers stay, and it is not listened to any more."""
    site = Site()
    site.collector.take([report("a", 1, 5)])
    for number in range(int(FOLDED_AFTER_S / LONGEST_STEP_S) + 2):
        site.clock.advance(LONGEST_STEP_S)
        site.collector.take([report("b", number + 1, 1)])

    site.collector.take([report("a", 2, 6)])

    assert site.requests == "6"


def test_other_routers_are_known_while_they_ask() -> None:
    """A single router's numbers come with its question; nobody else has to be asked."""
    site = Site()

    assert not site.collector.has_others("r1")
    assert site.collector.has_others("r2")
    site.clock.advance(ROUTER_LEAVES_AFTER_S + 1)
    assert not site.collector.has_others("r2")


def answers(process: str, number: int, requests: int) -> bytes:
    """Return a report of a model server that answered."""
    cells = {("m", "1", "s", "Predict", "OK"): requests}
    return to_bytes(Report(process, number, MetricSnapshot({SIGNATURE_REQUESTS.name: cells})))


def requests_per_s(site: Site) -> float:
    """Return the present rate of the version."""
    return site.collector.traffic()["m", "1"].rates.requests_per_s


def test_traffic_adds_up_over_replicas_and_not_over_routers() -> None:
    """Each router brings the reports of all model servers; those of one server count once."""
    site = Site()
    site.collector.take([answers("a", 1, 100), answers("b", 1, 100)])
    site.clock.advance(10.0)

    site.collector.take([answers("a", 2, 150), answers("b", 2, 130)])
    site.clock.advance(SAMPLE_EVERY_S)
    site.collector.take([answers("a", 2, 150), answers("b", 2, 130)])

    assert requests_per_s(site) == 80 / (10.0 + SAMPLE_EVERY_S)


def test_the_traffic_of_a_new_collector_is_that_of_its_own_time() -> None:
    """Sums that it goes on from are older; what came meanwhile belongs to no known time."""
    before = Site()
    before.collector.take([answers("a", 1, 1_000_000)])
    after = Site(before.copy())
    after.collector.take([answers("a", 2, 1_000_500)])
    assert after.collector.traffic() == {}

    after.clock.advance(10.0)
    after.collector.take([answers("a", 3, 1_000_520)])

    assert requests_per_s(after) == 2.0


def test_traffic_is_right_after_a_pause() -> None:
    """The ledger's clock goes slowly then, but requests were answered all the time."""
    site = Site()
    site.collector.take([answers("a", 1, 0)])
    site.clock.advance(10 * LONGEST_STEP_S)

    site.collector.take([answers("a", 2, 1000)])

    assert requests_per_s(site) == 1000 / (10 * LONGEST_STEP_S)


def test_reports_that_come_at_once_make_one_sample() -> None:
    """Adding everything up costs; the next report shows what the ones before it told."""
    site = Site()
    site.collector.take([answers("a", 1, 0)])
    site.clock.advance(SAMPLE_EVERY_S)
    site.collector.take([answers("a", 2, 10)])
    site.collector.take([answers("a", 3, 500)])

    assert requests_per_s(site) == 10 / SAMPLE_EVERY_S
