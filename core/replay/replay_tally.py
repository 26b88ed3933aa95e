"""What came of requests that were put to two versions, twice to each: so much differs by chance alone."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import Final, NamedTuple

from core.comparison.answer_difference import answer_difference
from core.delivery.mirror_counts import MirrorCounts
from core.delivery.pair_report import OutputPair, PairReport, PairResult
from core.delivery.split import DEFAULT_TOLERANCE, Tolerance
from core.errors import Code
from core.pages.tables import counted
from core.replay.latencies import Latencies
from core.replay.recorded_requests import RecordedRequest
from core.routing.transport import Answer

MOST_WORST: Final = 10
"""Requests that are named, those first whose answers differ most."""
MOST_ERRORS: Final = 100
"""Texts of errors that are counted one by one; some have a part that is new each time."""
MOST_NAMED: Final = 3
LONGEST_TEXT: Final = 300


class VersionReply(NamedTuple):
    """An answer, and how long the caller waited for it."""

    answer: Answer
    took_s: float

    @property
    def is_good(self) -> bool:
        """Whether it is no error."""
        return self.answer.code is Code.OK


class Trial(NamedTuple):
    """The replies to one request: of the old version and of the new one, and of both once more."""

    old: VersionReply
    new: VersionReply
    old_again: VersionReply
    new_again: VersionReply


class WorstPair(NamedTuple):
    """A request whose answers differ much, and how; those that differ most sort last."""

    rank: tuple[int, bool, float, int]
    request: str
    result: PairResult
    text: str


class ErrorSeen(NamedTuple):
    """An error of one of the versions."""

    is_new: bool
    code: Code
    text: str


class ReplayTally:
    """Sums over all requests, in a bounded space."""

    def __init__(self, tolerance: Tolerance = DEFAULT_TOLERANCE) -> None:
        self.tolerance = tolerance
        self.requests = self.old_failed = self.both_failed = 0
        self.counts = self.noise = self.new_noise = MirrorCounts()
        self.old_latency, self.new_latency = Latencies(), Latencies()
        self.errors: Counter[ErrorSeen] = Counter()
        self._worst: list[WorstPair] = []

    def add(self, request: RecordedRequest, trial: Trial) -> None:
        """Compare the answers to one request, and count how they differ."""
        self.requests += 1
        self._note_errors(trial)
        if not trial.old.is_good:
            self.both_failed += not trial.new.is_good
            self.old_failed += trial.new.is_good
            return
        found = self._pair(request, trial.old, trial.new)
        self.counts = self.counts.plus(found)
        self.noise = self.noise.plus(self._pair(request, trial.old, trial.old_again))
        if trial.new.is_good:
            self.new_noise = self.new_noise.plus(self._pair(request, trial.new, trial.new_again))
        if all(one.is_good for one in trial):
            for latencies, replies in ((self.old_latency, trial[::2]), (self.new_latency, trial[1::2])):
                for one in replies:
                    latencies.add(one.took_s)
        self._note_worst(request, found)

    @property
    def worst(self) -> list[WorstPair]:
        """The requests whose answers differ most, the worst first."""
        return sorted(self._worst, reverse=True)

    def _pair(self, request: RecordedRequest, old: VersionReply, other: VersionReply) -> PairReport:
        if not other.is_good:
            return PairReport(PairResult.FAILED, reason=f"{other.answer.code.name}: {other.answer.text}")
        return answer_difference(request.call.method, old.answer.body, other.answer.body, otherwise=self.tolerance)

    def _note_errors(self, trial: Trial) -> None:
        for is_new, reply in ((False, trial.old), (True, trial.new)):
            if not reply.is_good:
                seen = ErrorSeen(is_new, reply.answer.code, reply.answer.text[:LONGEST_TEXT])
                if seen in self.errors or len(self.errors) < MOST_ERRORS:
                    self.errors[seen] += 1

    def _note_worst(self, request: RecordedRequest, found: PairReport) -> None:
        if found.result in {PairResult.IDENTICAL, PairResult.DROPPED}:
            return
        outputs = sorted(
            found.outputs.items(), key=lambda one: (one[1].flipped_rows > 0, one[1].relative_l2), reverse=True
        )
        flips = bool(outputs) and outputs[0][1].flipped_rows > 0
        distance = max((one.relative_l2 for _, one in outputs), default=0.0)
        text = found.reason or ", ".join(_pair_text(name, one) for name, one in outputs[:MOST_NAMED])
        rank = int(found.result), flips, distance, -self.requests
        one = WorstPair(rank, request.place, found.result, text[:LONGEST_TEXT])
        (heapq.heappush if len(self._worst) < MOST_WORST else heapq.heappushpop)(self._worst, one)


def _pair_text(name: str, pair: OutputPair) -> str:
    rows = f" with {counted(pair.flipped_rows, 'flip')}" if pair.flipped_rows else ""
    return f"{name} {pair.relative_l2:.1e} away{rows}"
