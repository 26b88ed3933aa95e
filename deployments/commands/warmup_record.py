"""`ray_model_server warmup-record`: makes a version's warm-up file from request logs and given requests."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.errors import DataLoss, InvalidArgument, ServingError
from core.recording.tf_record import TruncatedRecord, framed, records
from core.recording.warmup_file import FILE, MOST_RECORDS
from core.recording.warmup_selection import WarmUpSelection
from core.routing.transport import Method
from deployments.commands.table import program
from deployments.runtime.signature_file import declared_model

FAILED = 1
"""Exit status when no file could be made; invalid arguments end with 2, as usual."""

GIVEN = {
    "predict": Method.PREDICT,
    "classify": Method.CLASSIFY,
    "regress": Method.REGRESS,
    "multi_inference": Method.MULTI_INFERENCE,
}
DESCRIPTION = (
    "Makes a warm-up file: requests that a version answers when it is loaded, before it serves. They come from request "
    "logs (TFRecord files of PredictionLog) and from files with one request each, which hold either the body of a REST "
    "request or a serialized gRPC request."
)


def main(arguments: Sequence[str]) -> int:
    """Make the file; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.model is None and options.out is None:
        parser.error("one of --model and --out is needed")
    target = options.out if options.out is not None else options.model / FILE
    try:
        model = None if options.model is None else declared_model(options.model, frozenset(options.tags.split(",")))
        selection = WarmUpSelection(model, limit=options.limit, without_repetitions=options.dedupe)
        _write(target, _chosen(options, selection))
    except (OSError, ServingError) as error:
        print(f"{program()} warmup-record: {error}", file=sys.stderr)
        return FAILED
    print(_summary(selection, target))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{program()} warmup-record", description=DESCRIPTION)
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        help="folder of the version: its signatures are needed for JSON, requests that do not fit are found, and "
        f"without --out the file becomes its {FILE}",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write instead")
    parser.add_argument("--log", type=Path, nargs="+", default=[], metavar="FILE", help="request logs")
    for name in GIVEN:
        text = f"{name.replace('_', '-')} requests, one in each file"
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, nargs="+", default=[], metavar="FILE", help=text)
    parser.add_argument("--limit", type=_count, default=MOST_RECORDS, metavar="N", help="most requests (%(default)s)")
    parser.add_argument("--dedupe", action="store_true", help="take equal requests once")
    parser.add_argument("--tags", default="serve", help="tags of the graph in the SavedModel (%(default)s)")
    return parser


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_RECORDS)) else 0
    if not 1 <= count <= MOST_RECORDS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_RECORDS}, which is what a load takes; was {text}")
    return count


def _chosen(options: Any, selection: WarmUpSelection) -> Iterator[bytes]:
    """Yield given requests first, because the user chose these, then those of the logs."""
    for name, method in GIVEN.items():
        for file in getattr(options, name):
            if selection.is_full:
                raise InvalidArgument(f"{file}: there are more requests than --limit allows")
            yield from _one_or_none(selection.given(method, file.read_bytes(), str(file)))
    for file in options.log:
        for record in _logged(file):
            if selection.is_full:
                return
            yield from _one_or_none(selection.logged(record, str(file)))


def _one_or_none(record: bytes | None) -> Iterator[bytes]:
    if record is not None:
        yield record


def _logged(file: Path) -> Iterator[bytes]:
    """Yield the records of a log; an incomplete last one is from a server that was killed, or is still writing."""
    with file.open("rb") as stream:
        try:
            yield from records(stream)
        except TruncatedRecord as error:
            print(f"{file}: the rest is left out: {error}", file=sys.stderr)
        except DataLoss as error:
            raise DataLoss(f"{file}: {error}; a log of TFRecords is needed") from None


def _write(target: Path, chosen: Iterator[bytes]) -> None:
    """Move the file to its place when it is complete; raises OSError and ServingError, and then changes nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with aside.open("xb") as stream:
            for record in chosen:
                stream.write(framed(record))
            if not stream.tell():
                raise InvalidArgument("There are no requests to write")
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _summary(selection: WarmUpSelection, target: Path) -> str:
    left_out = selection.left_out
    parts = [f"wrote {selection.taken} requests to {target}"]
    if left_out.repeated:
        parts.append(f"left out {left_out.repeated} that came before")
    if left_out.unfit:
        parts.append(f"left out {left_out.unfit} that cannot be replayed, one of them because: {left_out.example}")
    return "\n".join(parts)
