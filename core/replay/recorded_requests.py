"""Reads files of requests, one at a time: TFRecords of PredictionLog (logs, warm-up files), and lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
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
    """A request, and the number of its record or line in its file, from 1."""

    number: int
    call: Call


@dataclass(slots=True)
class LeftOut:
    """What of a file was not replayed: how many records, why one of them, and why the file was not read to its end."""

    count: int = 0
    example: str = ""
    ended: str = ""


def recorded_requests(
    stream: BufferedReader, file: str, model: ServedModel, left_out: LeftOut
) -> Iterator[RecordedRequest]:
    """Yield the requests of a file, and fill in what was left out.

    `model` has the signatures from which lines of JSON take their types. Raises InvalidArgument and DataLoss for a file
    that has no request at all; one that is damaged further behind only ends there.
    """
    found = 0
    for number, call in _calls(stream, file, model, left_out):
        if call is None:
            left_out.count += 1
            continue
        found += 1
        yield RecordedRequest(number, call)
    if not found:
        why = left_out.ended or left_out.example or "it is empty"
        raise InvalidArgument(f"{file} has no request that can be replayed: {why}")


def _calls(
    stream: BufferedReader, file: str, model: ServedModel, left_out: LeftOut
) -> Iterator[tuple[int, Call | None]]:
    head = stream.peek(HEADER_BYTES)
    if len(head) >= HEADER_BYTES and masked_checksum(head[: LENGTH.size]) == head[LENGTH.size : HEADER_BYTES]:
        yield from _of_records(stream, file, left_out)
    elif head.lstrip(_BLANKS)[:1] == b"{":
        yield from _of_lines(stream, model, left_out)
    elif head.strip(_BLANKS):
        hint = "; it is compressed: unpack it first" if head.startswith(_GZIP) else ""
        raise DataLoss(f"{file} is neither a TFRecord file of PredictionLog nor lines of JSON{hint}")


def _of_records(stream: BufferedReader, file: str, left_out: LeftOut) -> Iterator[tuple[int, Call | None]]:
    number = 0
    try:
        for number, record in enumerate(records(stream, LONGEST_REQUEST_BYTES), start=1):
            try:
                call = replayed_call(record, file)
            except ServingError as error:
                call = None
                left_out.example = left_out.example or f"record {number}: {error}"
            else:
                left_out.example = left_out.example or ("" if call else f"record {number} holds no request")
            yield number, call
    except DataLoss as error:
        left_out.ended = f"after record {number}: {error}"


def _of_lines(stream: BufferedReader, model: ServedModel, left_out: LeftOut) -> Iterator[tuple[int, Call | None]]:
    number = 0
    while line := stream.readline(LONGEST_LINE_BYTES + 1):
        number += 1
        if len(line) > LONGEST_LINE_BYTES:
            left_out.ended = f"line {number} is longer than {LONGEST_LINE_BYTES:,} bytes"
            return
        if not line.strip(_BLANKS):
            continue
        try:
            call = json_request(line, model)
        except ServingError as error:
            call = None
            left_out.example = left_out.example or f"line {number}: {error}"
        yield number, call
