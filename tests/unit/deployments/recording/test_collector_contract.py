"""What the writer may expect of a collector holds for the built-in ones and for the example of a package alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from core.config.extensions import LogFormat
from core.config.model_config import LoggingConfig
from core.inference.signature import ServedModel
from core.recording.collector import LogCollector, LogContext
from core.recording.json_line import json_line
from core.recording.log_files import FileLimits, LogFileNames
from core.recording.prediction_log import Exchange, LogOrigin, prediction_log
from core.recording.tf_record import framed
from core.routing.transport import Method
from deployments.recording.file_collector import FileCollector
from deployments.recording.log_storage import open_log_file
from examples.extension.example_extension.csv_log import CsvLog
from tests.support.prediction_logs import predict_request

SERVED = ServedModel("m", 3, {})
CONTEXT = LogContext("m", 3, "replica", "aa")

Make = Callable[[], LogCollector]


def record(value: float) -> bytes:
    """Return the record of a request."""
    exchange = Exchange(Method.PREDICT, predict_request(value).SerializeToString(), b"", 1e9)
    return prediction_log(SERVED, exchange, LogOrigin(LoggingConfig()))


@pytest.fixture(params=["tf_record", "json_lines", "csv"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """What makes collectors of a kind that write to the test's folder."""
    prefix = f"{tmp_path}/log"
    if request.param == "csv":
        return lambda: CsvLog(LoggingConfig("csv", prefix), CONTEXT)
    form = LogFormat.TF_RECORD if request.param == "tf_record" else LogFormat.JSON_LINES
    name = LogFileNames(prefix, "replica", form).name(1e9, 1)
    encode = framed if form is LogFormat.TF_RECORD else json_line
    return lambda: FileCollector(encode, lambda: open_log_file(name), FileLimits())


def content(folder: Path) -> bytes:
    """Return what readers see."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("log*")) if file.suffix != ".unfinished")


def test_records_are_stored_in_order_when_the_collector_is_closed(make: Make, tmp_path: Path) -> None:
    """Batches of any size."""
    collector = make()
    encoded = [collector.encoded(record(value)) for value in (1.0, 2.0, 3.0)]

    collector.collect(encoded[:1])
    collector.collect(encoded[1:])
    collector.close(3.0)

    assert content(tmp_path) == b"".join(encoded)


def test_a_flush_without_records_is_safe(make: Make, tmp_path: Path) -> None:
    """It comes a few times a second."""
    collector = make()

    assert [collector.flush(), collector.flush()] == [True, True]
    collector.close(3.0)
    assert content(tmp_path) == b""


def test_what_is_safe_is_there(make: Make, tmp_path: Path) -> None:
    """A flush that says so has shown everything to readers."""
    collector = make()
    one = collector.encoded(record(1.0))
    collector.collect([one])

    assert not collector.flush() or content(tmp_path) == one
    collector.close(3.0)
    assert content(tmp_path) == one


@pytest.mark.parametrize("broken", [b"\xff", b"\x0a\xff"])
def test_a_record_that_cannot_be_encoded_is_an_error_of_its_own(make: Make, tmp_path: Path, broken: bytes) -> None:
    """The collector takes others; one that copies bytes has nothing to refuse."""
    collector = make()
    with suppress(Exception):
        collector.encoded(broken)
    one = collector.encoded(record(1.0))
    collector.collect([one])
    collector.close(3.0)

    assert content(tmp_path) == one


def test_a_folder_that_is_not_there_is_an_error(make: Make, tmp_path: Path) -> None:
    """At the latest when records come; nothing is made up for it."""
    (tmp_path / "gone").mkdir()
    tmp_path.joinpath("gone").rmdir()
    tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))
    try:
        with pytest.raises(Exception, match=r"No such file or directory"):
            make().collect([b"one"])
    finally:
        tmp_path.with_name(f"{tmp_path.name}-moved").rename(tmp_path)
