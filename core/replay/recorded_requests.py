"""Reads files of requests, one at a time: TFRecords of PredictionLog (logs, warm-up files), and lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Final, NamedTuple

from core.errors import DataLoss, InvalidArgument, ServingError
from core.inference.signature import ServedModel
from core.recording.tf_record import HEADER_BYTES, LENGTH, masked_checksum, records
from core.recording.warmup_file import replayed_call
from core.replay.json_requests import json_request
from core.routing.transport import Call

LONGEST_REQUEST_BYTES: Final = 256 * 1024 * 1024
LONGEST_LINE_BYTES: Final = 32 * 1024 * 1024
"""Longer ones are not read, because several forms of one are in memory at once; those of JSON take the most."""

_BLANKS: Final = b" \t\r\n"
_GZIP: Final = b"\x1f\x8b"


class RecordedRequest(NamedTuple):
    """A request, and its place: the number of its record or line from 1, after the file's name if several are read."""

    place: str
    call: Call


class RequestsFile(NamedTuple):
    """An open file of requests, and its name."""

    name: str
    stream: BufferedReader

    @property
    def is_tf_record(self) -> bool:
        """Whether it begins as TFRecords do."""
        head = self.stream.peek(HEADER_BYTES)
        return len(head) >= HEADER_BYTES and masked_checksum(head[: LENGTH.size]) == head[LENGTH.size : HEADER_BYTES]

    def check(self) -> None:
        """Raise DataLoss for a file that holds something else; one that is empty passes."""
        head = self.stream.peek(HEADER_BYTES)
        if head.strip(_BLANKS) and not self.is_tf_record and not head.lstrip(_BLANKS).startswith(b"{"):
            hint = "; it is compressed: unpack it first" if head.startswith(_GZIP) else ""
            raise DataLoss(f"{self.name} is neither a TFRecord file of PredictionLog nor lines of JSON{hint}")


@dataclass(slots=True)
class NotReplayed:
    """What of files was not replayed: how many records, why one of them, and why a file was not read to its end."""

    count: int = 0
    example: str = ""
    ended: str = ""

    def add(self, place: str, reason: object) -> None:
        """Count a record."""
        self.count += 1
        self.example = self.example or f"{place}: {reason}"


def recorded_requests(
    files: Sequence[RequestsFile], model: ServedModel, left_out: NotReplayed
) -> Iterator[RecordedRequest]:
    """Yield the requests of files, and fill in what was left out.

    `model` has the signatures from which lines of JSON take their types. Raises DataLoss for a file of another kind and
    InvalidArgument where there is no request at all. A file that is damaged further behind only ends there.
    """
    for file in files:
        file.check()
    found = False
    for file in files:
        prefix = f"{file.name.rpartition('/')[2]} " if len(files) > 1 else ""
        calls = _of_records(file, prefix, left_out) if file.is_tf_record else _of_lines(file, prefix, model, left_out)
        try:
            for request in calls:
                found = True
                yield request
        except OSError as error:
            left_out.ended = f"{file.name} cannot be read: {error.strerror}"
    if not found:
        why = left_out.ended or left_out.example or "it is empty"
        raise InvalidArgument(f"{files[-1].name} has no request that can be replayed: {why}")


def _of_records(file: RequestsFile, prefix: str, left_out: NotReplayed) -> Iterator[RecordedRequest]:
    number = 0
    try:
        for number, record in enumerate(records(file.stream, LONGEST_REQUEST_BYTES), start=1):
            place = f"{prefix}{number}"
            try:
                call = replayed_call(record, file.name)
            except ServingError as error:
                left_out.add(place, error)
                continue
            if call is None:
                left_out.add(place, "it holds no request")
            else:
                yield RecordedRequest(place, call)
    except DataLoss as error:
        left_out.ended = f"{file.name} after record {number}: {error}"


def _of_lines(file: RequestsFile, prefix: str, model: ServedModel, left_out: NotReplayed) -> Iterator[RecordedRequest]:
    number = 0
    while line := file.stream.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        place = f"{prefix}{number}"
        if len(line) > LONGEST_LINE_BYTES:
            left_out.ended = f"{file.name}: line {number} is longer than {LONGEST_LINE_BYTES:,} bytes"
            return
        if not line.strip(_BLANKS):
            continue
        try:
            call = json_request(line, model)
        except ServingError as error:
            left_out.add(place, error)
        else:
            yield RecordedRequest(place, call)
