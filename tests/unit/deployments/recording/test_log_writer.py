"""Tests of the writing of request logs, with a folder in memory and a clock that stands still."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from core.errors import FailedPrecondition, InvalidArgument
from core.recording.collector import RecordsLost
from core.recording.log_files import FileLimits
from core.recording.prediction_log import Exchange
from core.routing.transport import Method
from core.telemetry.metric_names import DROPPED_LOG_RECORDS, REQUEST_LOG_COUNT
from deployments.recording import log_writer
from deployments.recording.file_collector import FileCollector
from deployments.recording.log_writer import RETRY_AFTER_S, LogWriter, WriterThread
from deployments.telemetry.process_metrics import METRICS
from tests.support.clients import wait_until
from tests.support.fakes import FakeClock
from tests.support.log_folder import FakeLogFolder

LIMITS = FileLimits(max_bytes=100, max_age_s=60.0)


class Site:
    """A writer with all that it needs, and what was counted since it was made."""

    def __init__(self, model: str, encode: Callable[[Exchange], bytes], limits: FileLimits = LIMITS) -> None:
        self.folder = FakeLogFolder()
        self.clock = FakeClock()
        self.model = model
        self.writer = LogWriter(
            model,
            encode,
            lambda: FileCollector(bytes, self.folder, limits, self.clock.steady_s),
            self.clock.steady_s,
        )

    def log(self, *texts: bytes) -> None:
        """Offer exchanges and let the writer turn."""
        for text in texts:
            self.writer.offer(exchange(text))
        self.writer.turn()

    @property
    def dropped(self) -> dict[str, float]:
        """Records that were dropped, by reason."""
        cells = METRICS.snapshot().counters.get(DROPPED_LOG_RECORDS.name, {})
        return {reason: count for (model, reason), count in cells.items() if model == self.model}

    @property
    def logged(self) -> dict[str, float]:
        """Requests that were drawn, by status."""
        cells = METRICS.snapshot().counters.get(REQUEST_LOG_COUNT.name, {})
        return {status: count for (model, status), count in cells.items() if model == self.model}


def exchange(text: bytes, answer: bytes = b"") -> Exchange:
    """Make an exchange whose body is its record."""
    return Exchange(Method.PREDICT, text, answer, 0.0)


def body_of(one: Exchange) -> bytes:
    """Encode an exchange as its body; a body can ask for trouble."""
    if one.body == b"unreadable":
        raise InvalidArgument("unreadable")
    if one.body == b"defect":
        raise RuntimeError("a defect of the encoder")
    return bytes(one.body)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    """A writer whose model has the test's name, because counters belong to the process."""
    return Site(request.node.name, body_of)


def test_records_reach_the_file_in_order(site: Site) -> None:
    """A turn writes all that waits."""
    site.log(b"one ", b"two ")
    site.log(b"three")

    assert bytes(site.folder.begun[0].content) == b"one two three"
    assert site.logged == {"OK": 3}
    assert site.dropped == {}


def test_nothing_to_log_makes_no_file(site: Site) -> None:
    """A log without requests leaves no traces."""
    site.log()
    site.clock.advance(1000)
    site.log()
    site.writer.end()

    assert site.folder.begun == []


def test_a_file_is_finished_by_size(site: Site) -> None:
    """The next record begins another."""
    site.log(b"x" * 99)
    site.log(b"yy")
    site.log(b"z")

    assert site.folder.finished == [b"x" * 99 + b"yy"]
    assert bytes(site.folder.begun[1].content) == b"z"


def test_a_file_is_finished_by_age_without_further_requests(site: Site) -> None:
    """Readers need not wait for more traffic."""
    site.log(b"one")
    site.clock.advance(59)
    site.log()
    assert site.folder.finished == []

    site.clock.advance(1)
    site.log()

    assert site.folder.finished == [b"one"]


def test_the_end_writes_and_finishes_everything(site: Site) -> None:
    """What was taken before is not lost; what comes after is counted."""
    site.writer.offer(exchange(b"one"))
    site.writer.end()
    site.writer.offer(exchange(b"late"))

    assert site.folder.finished == [b"one"]
    assert site.dropped == {"queue_full": 1}


def test_a_full_queue_drops_what_is_new(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits; what was taken stays."""
    monkeypatch.setattr(log_writer, "MOST_WAITING", 2)

    site.log(b"1", b"2", b"3", b"4")
    site.log(b"5")

    assert bytes(site.folder.begun[0].content) == b"125"
    assert site.dropped == {"queue_full": 2}
    assert site.logged == {"OK": 3, "RESOURCE_EXHAUSTED": 2}


def test_the_memory_of_the_queue_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests and answers count; one that is larger than the whole bound is taken when it is alone."""
    monkeypatch.setattr(log_writer, "MOST_WAITING_BYTES", 10)
    site.writer.offer(exchange(b"a", b"b" * 20))
    site.writer.offer(exchange(b"c"))
    site.writer.turn()
    site.writer.offer(exchange(b"d" * 5, b"e" * 5))
    site.writer.offer(exchange(b"f"))
    site.writer.turn()

    assert bytes(site.folder.begun[0].content) == b"addddd"
    assert site.dropped == {"queue_full": 2}


def test_a_full_disk_drops_and_counts_until_there_is_room(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What was written before is finished; afterwards a new file begins. It is said once, and once when it is over."""
    site.log(b"before")
    site.folder.room_bytes = 0
    with caplog.at_level(logging.WARNING):
        for text in (b"lost 1", b"lost 2"):
            site.log(text)
            site.clock.advance(RETRY_AFTER_S)
        site.folder.room_bytes = 1000
        site.log(b"after")
        site.writer.end()

    assert site.folder.finished == [b"before", b"after"]
    assert site.dropped == {"storage": 2}
    assert site.logged == {"OK": 2, "UNAVAILABLE": 2}
    events = [record.getMessage().split()[0] for record in caplog.records]
    assert events == ["request_log_not_written", "request_log_written_again"]


def test_a_broken_storage_is_left_alone_for_a_while(site: Site) -> None:
    """Every request would otherwise cost a failing call; what comes meanwhile is dropped unread."""
    site.folder.missing = True
    site.log(b"one")
    site.folder.missing = False
    site.log(b"two")
    site.clock.advance(RETRY_AFTER_S)
    site.log(b"three")
    site.writer.end()

    assert site.folder.finished == [b"three"]
    assert site.dropped == {"storage": 2}


def test_a_missing_folder_begins_no_file(site: Site) -> None:
    """Nothing is made up for it."""
    site.folder.missing = True

    site.log(b"one")

    assert site.folder.begun == []
    assert site.dropped == {"storage": 1}


def test_an_empty_file_is_not_left_behind(site: Site) -> None:
    """A file whose first record did not fit is removed."""
    site.folder.room_bytes = 0

    site.log(b"one")

    assert [one.state for one in site.folder.begun] == ["discarded"]


def test_a_file_that_cannot_be_finished_is_counted(site: Site) -> None:
    """Its records are lost for readers."""
    site.log(b"one", b"two")
    site.folder.sealed = True
    site.clock.advance(60)
    site.log()

    assert site.folder.finished == []
    assert site.dropped == {"storage": 2}


def test_a_record_that_cannot_be_made_is_dropped_alone(site: Site) -> None:
    """Its neighbours are written, and defects of the encoder do not end the log."""
    site.log(b"1", b"unreadable", b"2", b"defect", b"3")

    assert bytes(site.folder.begun[0].content) == b"123"
    assert site.dropped == {"format": 2}
    assert site.logged == {"OK": 3, "INVALID_ARGUMENT": 1, "INTERNAL": 1}


def test_much_is_written_in_pieces(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst needs no memory for all of it at once, and files keep their size."""
    monkeypatch.setattr(log_writer, "CHUNK_BYTES", 120)

    site.log(*[b"x" * 60] * 5)
    site.writer.end()

    assert [len(content) for content in site.folder.finished] == [120, 120, 60]


def test_the_thread_writes_by_itself_and_ends_when_closed(site: Site) -> None:
    """Nobody has to turn the writer."""
    thread = WriterThread(site.writer)
    site.writer.offer(exchange(b"one"))
    wait_until(lambda: site.logged == {"OK": 1}, "the record is written")
    site.writer.offer(exchange(b"two"))

    thread.close()

    assert thread.join(60)
    assert site.folder.finished == [b"onetwo"]


def test_a_writer_that_hangs_holds_nobody_up(request: pytest.FixtureRequest) -> None:
    """Offering goes on, and waiting for the end has an end."""
    may_go_on = threading.Event()

    def slow(one: Exchange) -> bytes:
        assert may_go_on.wait(60)
        return body_of(one)

    site = Site(request.node.name, slow)
    thread = WriterThread(site.writer)
    site.writer.offer(exchange(b"one"))
    thread.close()

    assert not thread.join(0.01)
    site.writer.offer(exchange(b"two"))
    may_go_on.set()
    assert thread.join(60)
    assert len(site.folder.finished) == 1


class OddCollector:
    """A collector of a package; what is in `faults` raises that."""

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}
        self.batches: list[list[bytes]] = []
        self.closed_within_s: list[float] = []
        self.is_safe = True

    def _may_fail(self, name: str) -> None:
        if name in self.faults:
            raise self.faults[name]

    def encoded(self, record: bytes) -> bytes:
        self._may_fail("encoded")
        return record

    def collect(self, batch: Sequence[bytes]) -> None:
        self._may_fail("collect")
        self.batches.append(list(batch))

    def flush(self) -> bool:
        self._may_fail("flush")
        return self.is_safe

    def close(self, timeout_s: float) -> None:
        self.closed_within_s.append(timeout_s)
        self._may_fail("close")


class OddSite(Site):
    """A writer with such a collector; `unmade` is raised instead of making it."""

    def __init__(self, model: str) -> None:
        super().__init__(model, body_of)
        self.collector = OddCollector()
        self.unmade: Exception | None = None
        self.writer = LogWriter(model, body_of, self.made, self.clock.steady_s)

    def made(self) -> OddCollector:
        if self.unmade is not None:
            raise self.unmade
        return self.collector


@pytest.fixture
def odd(request: pytest.FixtureRequest) -> OddSite:
    """A writer whose model has the test's name."""
    return OddSite(request.node.name)


def test_a_collector_gets_batches(odd: OddSite) -> None:
    """All that waits, and an end with the time that is left."""
    odd.log(b"1", b"2")
    odd.log(b"3")
    odd.writer.end(2.0)

    assert odd.collector.batches == [[b"1", b"2"], [b"3"]]
    assert odd.collector.closed_within_s == [2.0]


def test_a_collector_is_made_for_the_first_record(odd: OddSite) -> None:
    """A log without requests opens nothing, and closes nothing."""
    odd.unmade = RuntimeError("not now")
    odd.log()
    odd.writer.end()

    assert odd.dropped == {}


def test_a_collector_that_cannot_be_made_is_tried_again_later(odd: OddSite, caplog: pytest.LogCaptureFixture) -> None:
    """Its records are dropped and counted; the log says so once."""
    odd.unmade = FailedPrecondition("log collector odd: is not installed on this node")
    for _ in range(3):
        odd.log(b"lost")
        odd.clock.advance(RETRY_AFTER_S)
    odd.unmade = None
    odd.log(b"1")

    assert odd.collector.batches == [[b"1"]]
    assert odd.dropped == {"storage": 3}
    events = [record.getMessage() for record in caplog.records]
    assert len(events) == 2
    assert "error='log collector odd: is not installed on this node'" in events[0]
    assert events[1].startswith("request_log_written_again")


def test_a_batch_that_fails_is_dropped_and_the_collector_rests(odd: OddSite) -> None:
    """The next one comes after the pause, and is taken by the same collector."""
    odd.collector.faults["collect"] = KeyError("seven")
    odd.log(b"1", b"2")
    odd.collector.faults.clear()
    odd.log(b"3")
    odd.clock.advance(RETRY_AFTER_S)
    odd.log(b"4")

    assert odd.collector.batches == [[b"4"]]
    assert odd.dropped == {"storage": 3}
    assert odd.logged == {"OK": 1, "UNAVAILABLE": 3}


def test_a_collector_says_how_many_are_lost(odd: OddSite) -> None:
    """It may have kept some of a batch, or lose earlier ones with it."""
    odd.log(b"1", b"2")
    odd.collector.faults["flush"] = RecordsLost(2, "the queue of the receiver is full")
    odd.log()

    assert odd.dropped == {"storage": 2}


def test_a_flush_or_an_end_that_fails_otherwise_loses_nothing_known(odd: OddSite) -> None:
    """The error is logged; nobody knows a number."""
    odd.collector.faults = {"flush": ValueError("x"), "close": ValueError("y")}
    odd.log(b"1")
    odd.writer.end()

    assert odd.collector.batches == [[b"1"]]
    assert odd.dropped == {}
    assert odd.collector.closed_within_s != []


def test_a_failure_is_over_when_what_came_after_it_is_safe(odd: OddSite, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that holds records back has stored nothing yet."""
    odd.collector.faults["collect"] = OSError("away")
    odd.log(b"1")
    odd.collector.faults.clear()
    odd.collector.is_safe = False
    odd.clock.advance(RETRY_AFTER_S)
    odd.log(b"2")
    before = [record.getMessage().split()[0] for record in caplog.records]
    odd.collector.is_safe = True
    odd.log()

    assert before == ["request_log_not_written"]
    assert caplog.records[-1].getMessage().startswith("request_log_written_again")


def test_records_that_a_collector_cannot_encode_are_dropped(odd: OddSite) -> None:
    """As those that cannot be made."""
    odd.collector.faults["encoded"] = KeyError("x")
    odd.log(b"1", b"2")

    assert odd.collector.batches == []
    assert odd.dropped == {"format": 2}


def test_an_end_gives_the_collector_the_time_that_is_left(odd: OddSite) -> None:
    """The thread hands on how long the end may take."""
    odd.log(b"1")
    thread = WriterThread(odd.writer)
    thread.close(5.0)
    thread.close(0.0)

    assert thread.join(10)
    assert 0 < odd.collector.closed_within_s[0] <= 5.0


def test_an_end_does_not_flush_first(odd: OddSite) -> None:
    """A flush may take all the time, and nobody has told it how much there is."""
    odd.log(b"1")
    odd.collector.faults["flush"] = OSError("slow")
    odd.writer.offer(exchange(b"2"))
    odd.writer.end(2.0)

    assert odd.collector.batches == [[b"1"], [b"2"]]
    assert odd.collector.closed_within_s == [2.0]
    assert odd.dropped == {}


def test_a_record_that_is_lost_after_it_was_taken_is_one_request(odd: OddSite) -> None:
    """It is dropped, and was counted; those of a batch that were taken all the same are counted as such."""
    odd.log(b"1", b"2")
    odd.collector.faults["flush"] = RecordsLost(2, "gone")
    odd.log()
    odd.collector.faults = {"collect": RecordsLost(1, "there was room for one")}
    odd.clock.advance(RETRY_AFTER_S)
    odd.log(b"3", b"4")

    assert odd.logged == {"OK": 3, "UNAVAILABLE": 1}
    assert odd.dropped == {"storage": 3}


class SlowCollector(OddCollector):
    """One whose `flush` lasts until it is told to end."""

    def __init__(self) -> None:
        super().__init__()
        self.flushing = threading.Event()
        self.told: list[float] = []
        self._ends = threading.Event()

    def flush(self) -> bool:
        self.flushing.set()
        assert self._ends.wait(60)
        return False

    def end_within(self, timeout_s: float) -> None:
        self.told.append(timeout_s)
        self._ends.set()


def test_a_flush_that_runs_is_told_when_the_end_is(odd: OddSite) -> None:
    """So that there is time left for the rest, and to count what is lost."""
    odd.collector = slow = SlowCollector()
    odd.writer.offer(exchange(b"1"))
    thread = WriterThread(odd.writer)
    assert slow.flushing.wait(60)
    thread.close(5.0)

    assert thread.join(60)
    assert slow.told == [5.0]
    assert len(slow.closed_within_s) == 1
