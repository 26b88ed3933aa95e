"""Tests of files of requests."""

from __future__ import annotations

import io
import json
import random

import pytest

from core.errors import DataLoss, InvalidArgument, ServingError
from core.inference.dtypes import DataType
from core.inference.signature import ServedModel, Signature, TensorSpec
from core.recording.json_line import json_line
from core.recording.tf_record import LENGTH, framed, masked_checksum
from core.replay import recorded_requests as module
from core.replay.recorded_requests import NotReplayed, RequestsFile, recorded_requests
from core.routing.transport import Method
from tests.support.prediction_logs import PredictionLog, one_of_each, predict_log, serialized, session_run_log

SIGNATURE = Signature({"x": TensorSpec("x:0", DataType.FLOAT, (-1, 1))}, {})
MODEL = ServedModel("any", 7, {"serving_default": SIGNATURE})


def file(content: bytes, name: str = "/logs/file") -> RequestsFile:
    return RequestsFile(name, io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]


def tf_records(logs: list[PredictionLog]) -> bytes:
    return b"".join(map(framed, serialized(logs)))


def lines(logs: list[PredictionLog]) -> bytes:
    return b"".join(map(json_line, serialized(logs)))


def read(*contents: bytes) -> tuple[list[tuple[str, Method]], NotReplayed]:
    left_out = NotReplayed()
    files = [file(content, f"/logs/{number}") for number, content in enumerate(contents)]
    found = [(one.place, one.call.method) for one in recorded_requests(files, MODEL, left_out)]
    return found, left_out


EACH = [("1", Method.PREDICT), ("2", Method.CLASSIFY), ("3", Method.REGRESS), ("4", Method.MULTI_INFERENCE)]


def test_both_formats_of_request_logs_are_read() -> None:
    """Nobody has to say which one a file has."""
    for content in (tf_records(one_of_each()), lines(one_of_each()), b" \n" + lines(one_of_each()) + b"\n\n"):
        found, left_out = read(content)

        assert [method for _, method in found] == [method for _, method in EACH]
        assert left_out == NotReplayed()


def test_a_request_is_found_again_by_the_number_of_its_record_or_line() -> None:
    """Those that are left out count, and with several files the file is named."""
    bad = b"\nnot a request\n"
    found, left_out = read(lines([predict_log(1.0)]) + bad + lines([predict_log(2.0)]), tf_records([predict_log(3.0)]))

    assert [place for place, _ in found] == ["0 1", "0 4", "1 1"]
    assert (left_out.count, left_out.example[:5]) == (1, "0 3: ")


def test_records_that_cannot_be_replayed_are_counted() -> None:
    """SessionRun, records without a request, garbage: with the reason of the first."""
    content = tf_records([session_run_log(), PredictionLog(), predict_log(1.0)]) + framed(b"\xff\xff")

    found, left_out = read(content)

    assert found == [("3", Method.PREDICT)]
    assert left_out.count == 3
    assert left_out.example.startswith("1: Unsupported log_type")


def test_a_torn_end_ends_the_file_and_not_the_run() -> None:
    """A server was killed, or writes still; what came before was read."""
    content = tf_records([predict_log(1.0), predict_log(2.0)])

    found, left_out = read(content[:-3], lines([predict_log(3.0)]))

    assert [place for place, _ in found] == ["0 1", "1 1"]
    assert left_out.ended.startswith("/logs/0 after record 1: truncated record at ")


def test_a_changed_byte_ends_the_file() -> None:
    """What follows cannot be trusted to begin where it seems to."""
    content = bytearray(tf_records([predict_log(1.0), predict_log(2.0), predict_log(3.0)]))
    content[len(content) // 2] ^= 1

    found, left_out = read(bytes(content))

    assert len(found) == 1
    assert "corrupted record" in left_out.ended


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b" + bytes(20), b"\x00" * 64, b"# requests", b"\xff" * 12, b"SQLite format 3\x00"]
)
def test_a_file_of_another_kind_is_refused_before_anything_is_sent(content: bytes) -> None:
    """Also behind others, which would have taken their time."""
    requests = recorded_requests([file(lines([predict_log(1.0)])), file(content, "/x")], MODEL, NotReplayed())

    with pytest.raises(DataLoss, match="/x is neither a TFRecord file"):
        next(requests)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n\n  \n", "it is empty"),
        (tf_records([session_run_log()]), "Unsupported log_type"),
        (b'{"a": 1}\n', "neither a method"),
        (framed(b"")[:14], "truncated"),
    ],
)
def test_a_file_without_a_request_is_refused(content: bytes, reason: str) -> None:
    """Nothing was compared, which is not the same as no difference."""
    with pytest.raises(InvalidArgument, match=f"/logs/0 has no request that can be replayed: .*{reason}"):
        read(content)


def test_a_record_that_claims_too_much_is_not_read() -> None:
    """Its bytes would all be in memory."""
    length = LENGTH.pack(2**62)
    content = tf_records([predict_log(1.0)]) + length + masked_checksum(length) + bytes(100)

    found, left_out = read(content)

    assert len(found) == 1
    assert "4,611,686,018,427,387,904 bytes; at most" in left_out.ended


def test_a_line_that_is_too_long_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without line feeds may have any size."""
    monkeypatch.setattr(module, "LONGEST_LINE_BYTES", 1000)
    long = json.dumps({"instances": [[1.0]] * 1000}).encode()

    found, left_out = read(lines([predict_log(1.0)]) + long)

    assert len(found) == 1
    assert left_out.ended == "/logs/0: line 2 is longer than 1,000 bytes"


def test_a_disk_that_fails_ends_the_file() -> None:
    """What was compared until then is still shown."""

    class Failing(io.BytesIO):
        def readinto(self, buffer: bytearray) -> int:
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    content = lines([predict_log(1.0)])
    stream = io.BufferedReader(Failing(content), len(content))  # type: ignore[arg-type]
    left_out = NotReplayed()

    found = list(recorded_requests([RequestsFile("/x", stream)], MODEL, left_out))

    assert len(found) == 1
    assert left_out.ended == "/x cannot be read: Input/output error"


def test_random_changes_end_in_requests_or_in_our_errors() -> None:
    """Files come from disks and from people."""
    dice = random.Random(17)
    for content in (tf_records(one_of_each()), lines(one_of_each())):
        for _ in range(400):
            changed = bytearray(content)
            for _ in range(dice.randrange(1, 4)):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
            try:
                read(bytes(changed[: dice.randrange(1, len(changed) + 1)]))
            except ServingError:
                continue
