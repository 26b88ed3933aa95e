"""Tests of the writing of request logs, with a folder in memory and a clock that stands still."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import pytest

from core.errors import InvalidArgument
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
    wait_until(lambda: site.logged == {"OK": 1}, "the record is written", 10)
    site.writer.offer(exchange(b"two"))

    thread.close()

    assert thread.join(10)
    assert site.folder.finished == [b"onetwo"]


def test_a_writer_that_hangs_holds_nobody_up(request: pytest.FixtureRequest) -> None:
    """Offering goes on, and waiting for the end has an end."""
    may_go_on = threading.Event()

    def slow(one: Exchange) -> bytes:
        assert may_go_on.wait(10)
        return body_of(one)

    site = Site(request.node.name, slow)
    thread = WriterThread(site.writer)
    site.writer.offer(exchange(b"one"))
    thread.close()

    assert not thread.join(0.01)
    site.writer.offer(exchange(b"two"))
    may_go_on.set()
    assert thread.join(10)
    assert len(site.folder.finished) == 1
