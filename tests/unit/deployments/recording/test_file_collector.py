"""Files of records: when one is finished, and what is lost with one that fails."""

from __future__ import annotations

import pytest

from core.recording.collector import RecordsLost
from core.recording.log_files import FileLimits
from deployments.recording.file_collector import FileCollector
from tests.support.fakes import FakeClock
from tests.support.log_folder import FakeLogFolder


@pytest.fixture
def folder() -> FakeLogFolder:
    """A folder in memory."""
    return FakeLogFolder()


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def collector(folder: FakeLogFolder, clock: FakeClock) -> FileCollector:
    """A collector of files of up to ten bytes and a minute."""
    return FileCollector(bytes.upper, folder, FileLimits(max_bytes=10, max_age_s=60.0), clock.steady_s)


def test_records_are_encoded_as_said(collector: FileCollector) -> None:
    """The form of the file is not the collector's affair."""
    assert collector.encoded(b"a") == b"A"


def test_a_file_is_safe_when_it_is_finished(collector: FileCollector, folder: FakeLogFolder, clock: FakeClock) -> None:
    """By age or by size; before, readers do not see it."""
    collector.collect([b"one"])
    assert not collector.flush()
    clock.advance(60)
    assert collector.flush()
    collector.collect([b"x" * 4, b"y" * 6])
    assert collector.flush()

    assert folder.finished == [b"one", b"xxxxyyyyyy"]


def test_a_batch_that_does_not_fit_is_lost_alone(collector: FileCollector, folder: FakeLogFolder) -> None:
    """What was written before is finished."""
    collector.collect([b"one"])
    folder.room_bytes = 0

    with pytest.raises(RecordsLost, match="No space left on device") as caught:
        collector.collect([b"a", b"b"])

    assert caught.value.count == 2
    assert folder.finished == [b"one"]


def test_a_file_that_cannot_be_finished_takes_all_of_its_records_with_it(
    collector: FileCollector, folder: FakeLogFolder
) -> None:
    """Those of the batch, and those that were written before."""
    collector.collect([b"one"])
    folder.room_bytes = 0
    folder.sealed = True

    with pytest.raises(RecordsLost) as caught:
        collector.collect([b"a", b"b"])

    assert caught.value.count == 3
    collector.close(1.0)


def test_the_end_finishes_the_file_or_says_what_is_lost(collector: FileCollector, folder: FakeLogFolder) -> None:
    """A second end has nothing to do."""
    collector.collect([b"one", b"two"])
    folder.sealed = True

    with pytest.raises(RecordsLost, match="Permission denied") as caught:
        collector.close(1.0)
    collector.close(1.0)

    assert caught.value.count == 2
