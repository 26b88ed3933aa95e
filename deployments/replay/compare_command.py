"""`ray_model_server compare`: puts recorded requests to two versions, and shows how their answers differ."""

from __future__ import annotations

import argparse
import itertools
import math
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BufferedReader
from typing import Final, NamedTuple

from core.admin.status_text import printable
from core.comparison.signature_difference import signature_problems
from core.delivery.split import DEFAULT_TOLERANCE, Tolerance
from core.errors import Code, NotFound, RuntimeFailure
from core.inference.signature import ServedModel
from core.replay.recorded_requests import NotReplayed, RecordedRequest, RequestsFile, recorded_requests
from core.replay.replay_document import ReplayedPair, replay_document
from core.replay.replay_tally import ReplayTally, Trial, VersionReply
from core.replay.replay_text import replay_text
from deployments.commands.admin_client import NoServer
from deployments.commands.arguments import (
    DONE,
    FAILED,
    NO_SERVER,
    answered,
    client,
    name,
    parser,
    print_json,
    server_channel,
    target,
    version_number,
)
from deployments.launch.endings import INTERRUPTED
from deployments.replay.report_file import check_place, write_report
from deployments.replay.version_calls import VersionCalls

DIFFERENT: Final = 4
"""Exit status where the versions differ by more than tolerance and chance allow."""

_STATUSES: Final = {"same": DONE, "different": DIFFERENT, "unknown": FAILED}

MOST_REQUESTS: Final = 10_000
TURNS: Final = ("old", "new", "old_again", "new_again")
"""In what order a request is put to the versions; the next one in the reverse order.

A version is never called twice in a row, after which it would be faster.
"""
TOLD_EVERY_S: Final = 1.0
_DESCRIPTION: Final = """\
Put recorded requests to two versions of a model on a running server, and compare their answers tensor by tensor. Each
request is put twice to both, in turns: so one sees how much each differs from itself. The versions must answer; other
requests make latencies longer meanwhile.

FILE is a request log or a warm-up file (TFRecord of PredictionLog, of this server or TensorFlow Serving), or has a line
of JSON for each request: a request log of that format, or bodies of REST predict."""
_EXAMPLES: Final = """\
  ray_model_server compare ranking 7 8 --requests /models/ranking/8/assets.extra/tf_serving_warmup_requests
  ray_model_server compare ranking 7 8 --requests /logs/ranking-*.tfrecord --report ranking.html
  ray_model_server compare ranking 7 8 --requests requests.jsonl --rtol 0.01 --allow-outside 1 --json

exit status 4: they differ by more than tolerance and chance allow"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    made = parser("compare", _DESCRIPTION, _EXAMPLES)
    made.add_argument("model", metavar="MODEL", type=name)
    made.add_argument("old", metavar="OLD", type=version_number, help="the version to which the other is compared")
    made.add_argument("new", metavar="NEW", type=version_number)
    made.add_argument("--requests", metavar="FILE", type=name, nargs="+", required=True, help="recorded requests")
    made.add_argument("--report", metavar="FILE", type=name, help="write a page with plots that needs no network")
    made.add_argument("--limit", metavar="N", type=_count, default=MOST_REQUESTS, help="most requests (%(default)s)")
    made.add_argument("--rtol", metavar="X", type=_share, default=DEFAULT_TOLERANCE.rtol, help=_help("relative"))
    made.add_argument("--atol", metavar="X", type=_share, default=DEFAULT_TOLERANCE.atol, help=_help("absolute"))
    made.add_argument(
        "--allow-outside", metavar="PERCENT", type=_percent, default=0.0, help="answers that may be outside of it (0)"
    )
    made.add_argument("--timeout", metavar="S", type=_seconds, default=60.0, help="for each request (%(default)s)")
    given = made.parse_args(arguments)
    return answered(lambda: _compare(given), as_json=given.json)


def _help(kind: str) -> str:
    return f"{kind} part of the tolerance of a value (%(default)s)"


def _number(text: str, what: str, most: float = math.inf) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most or math.isinf(number):
        raise argparse.ArgumentTypeError(f"{text} is not {what}")
    return number


def _share(text: str) -> float:
    return _number(text, "a number from 0 on")


def _seconds(text: str) -> float:
    return _number(text, "a number of seconds")


def _percent(text: str) -> float:
    return _number(text, "a percentage", 100.0)


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not number:
        raise argparse.ArgumentTypeError(f"{text} is not a number of requests")
    return number


def _compare(given: argparse.Namespace) -> int:
    if given.report:
        check_place(given.report)
    tally, left_out = ReplayTally(Tolerance(given.rtol, given.atol)), NotReplayed()
    with ExitStack() as opened:
        files = [RequestsFile(one, opened.enter_context(_opened(one))) for one in given.requests]
        for one in files:
            one.check()
        calls, old, new = _versions(given)
        ending = _replay(given, calls, tally, recorded_requests(files, old, left_out))
    problems = signature_problems(old.signatures, new.signatures)
    pair = ReplayedPair(
        given.model,
        given.old,
        given.new,
        target(given.server),
        given.requests,
        problems,
        given.allow_outside / 100,
    )
    document = replay_document(pair, tally, left_out, ending.text)
    if given.json:
        print_json(document)
    else:
        print(replay_text(document, shutil.get_terminal_size().columns), end="")
    if given.report:
        write_report(given.report, document)
        print(f"wrote {printable(given.report)}", file=sys.stderr)
    return _STATUSES[document["verdict"]] if ending.status is None else ending.status


class _Ending(NamedTuple):
    """Why requests were left over, if so, and the exit status if it is not that of the verdict."""

    text: str = ""
    status: int | None = None


def _opened(file: str) -> BufferedReader:
    try:
        return open(file, "rb")
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}") from None


def _versions(given: argparse.Namespace) -> tuple[VersionCalls, ServedModel, ServedModel]:
    """Return what calls the versions, and what both declare; raises NoServer, NotFound and others."""
    channel, metadata = server_channel(given)
    calls = VersionCalls(channel, metadata, given.model, given.timeout)
    try:
        old, new = (ServedModel(given.model, one, calls.signatures(one)) for one in (given.old, given.new))
    except RuntimeFailure as error:
        if error.code in {Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED}:
            client(given).status()
        raise
    return calls, old, new


def _replay(
    given: argparse.Namespace, calls: VersionCalls, tally: ReplayTally, requests: Iterator[RecordedRequest]
) -> _Ending:
    """Put requests to the versions, and count how the answers differ."""
    told = _Told(given)
    turns = itertools.cycle((TURNS, TURNS[::-1]))
    try:
        for request in requests:
            if tally.requests >= given.limit:
                return _Ending(f"there are more than {given.limit:,} requests, see --limit")
            if not tally.requests:  # what a first request starts is no part of a latency
                calls.ask(request.call, given.old), calls.ask(request.call, given.new)
            tally.add(request, _trial(calls, request, given, next(turns)))
            told.at(tally.requests)
    except KeyboardInterrupt:
        return _Ending("it was interrupted", INTERRUPTED)
    except NoServer as error:
        if not tally.requests:
            raise
        return _Ending(str(error).partition("\n")[0], NO_SERVER)
    finally:
        requests.close()  # type: ignore[attr-defined]  # a generator
        told.end()
    return _Ending()


def _trial(calls: VersionCalls, request: RecordedRequest, given: argparse.Namespace, turns: Sequence[str]) -> Trial:
    """Put a request to the versions in these turns, as whoever comes first is at a disadvantage; raises NoServer."""
    replies: dict[str, VersionReply] = {
        turn: calls.ask(request.call, given.new if turn.startswith("new") else given.old) for turn in turns
    }
    if all(one.answer.code is Code.UNAVAILABLE for one in replies.values()):
        client(given).status()
    return Trial(**replies)


class _Told:
    """Tells at a terminal how far it is."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._is_shown = not given.json and sys.stderr.isatty()
        self._due_s = time.monotonic() + TOLD_EVERY_S

    def at(self, requests: int) -> None:
        if self._is_shown and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + TOLD_EVERY_S
            print(f"\r{requests:,} requests", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
