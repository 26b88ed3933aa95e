"""Tests of the sums of a replay."""

from __future__ import annotations

import numpy as np

from core.delivery.split import Tolerance
from core.errors import Code
from core.inference.tensor_proto import to_proto
from core.protos import serving_pb2
from core.replay.recorded_requests import RecordedRequest
from core.replay.replay_tally import MOST_ERRORS, MOST_WORST, ReplayTally, Trial, VersionReply
from core.routing.transport import Answer, Call, Method


def good(values: object, took_s: float = 0.001, name: str = "y", version: int = 7) -> VersionReply:
    message = serving_pb2.PredictResponse()
    message.model_spec.version.value = version
    message.outputs[name].CopyFrom(to_proto(np.array(values, np.float32)))
    return VersionReply(Answer(Code.OK, message.SerializeToString()), took_s)


def bad(text: str = "no", code: Code = Code.INTERNAL) -> VersionReply:
    return VersionReply(Answer.error(code, text), 0.5)


def add(
    tally: ReplayTally,
    old: VersionReply,
    new: VersionReply,
    old_again: VersionReply | None = None,
    new_again: VersionReply | None = None,
) -> None:
    request = RecordedRequest(str(tally.requests + 1), Call(Method.PREDICT, b""))
    tally.add(request, Trial(old, new, old_again or old, new_again or new))


def test_pairs_are_counted_by_how_they_differ() -> None:
    """The number of the version in an answer is no difference."""
    tally = ReplayTally()
    add(tally, good([1.0]), good([1.0], version=8))
    add(tally, good([1.0]), good([1.0001]))
    add(tally, good([1.0]), good([2.0]))
    add(tally, good([1.0]), good([1.0], name="z"))
    add(tally, good([1.0]), bad())

    counts = tally.counts
    assert (counts.identical, counts.within, counts.outside, counts.structural, counts.failed) == (1, 1, 1, 1, 1)
    assert (tally.noise.identical, tally.new_noise.identical) == (5, 4)


def test_an_answer_is_compared_only_where_both_have_one() -> None:
    """Who failed alone, and who failed together, is counted apart."""
    tally = ReplayTally()
    add(tally, bad(), good([1.0]))
    add(tally, bad(), bad())

    assert (tally.requests, tally.old_failed, tally.both_failed, tally.counts.compared) == (2, 1, 1, 0)
    assert tally.old_latency.count == 0


def test_what_a_version_differs_from_itself_is_counted_for_each() -> None:
    """A model that draws numbers differs from another by chance."""
    tally = ReplayTally()
    add(tally, good([1.0]), good([3.0]), old_again=good([2.0]), new_again=bad())

    assert (tally.noise.outside, tally.new_noise.failed) == (1, 1)


def test_the_tolerance_counts_for_every_output() -> None:
    """Nobody has to name them."""
    tally = ReplayTally(Tolerance(0.0, 1.5))
    add(tally, good([1.0]), good([2.0]))
    add(tally, good([1.0], name="other"), good([3.0], name="other"))

    assert (tally.counts.within, tally.counts.outside) == (1, 1)


def test_latencies_are_of_requests_that_all_calls_answered() -> None:
    """An error is fast, and would make its version look fast. Both calls to a version count."""
    tally = ReplayTally()
    add(tally, good([1.0], 0.1), good([1.0], 0.2), good([1.0], 0.3), good([1.0], 0.4))
    add(tally, good([1.0], 9.0), bad())
    add(tally, good([1.0], 9.0), good([1.0], 9.0), new_again=bad())

    assert (tally.old_latency.count, tally.new_latency.count) == (2, 2)
    assert (tally.old_latency.longest_s, tally.new_latency.longest_s) == (0.3, 0.4)


def test_the_worst_requests_are_named() -> None:
    """Other structure first, then flips, then the distance; earlier ones first among equals, and no more than some."""
    tally = ReplayTally()
    for shift in range(MOST_WORST * 2):
        add(tally, good([[1.0, 9.0]]), good([[1.0 + 0.01 * shift, 9.0]]))
    add(tally, good([[1.0, 1.1]]), good([[1.1, 1.0]]))
    add(tally, good([[1.0, 2.0]]), good([[1.0, 2.0]], name="z"))

    worst = tally.worst
    assert len(worst) == MOST_WORST
    assert [one.request for one in worst[:3]] == ["22", "21", "20"]
    assert worst[0].text == "output y is missing; output z is new"
    assert worst[1].text.endswith("away with 1 flip")


def test_errors_are_counted_by_their_text_in_a_bounded_space() -> None:
    """Some texts are new each time, and some are long."""
    tally = ReplayTally()
    for number in range(MOST_ERRORS * 2):
        add(tally, bad("same"), bad(f"{number} " + "x" * 10_000))

    assert len(tally.errors) == MOST_ERRORS
    assert tally.errors.most_common(1)[0][1] == MOST_ERRORS * 2
    assert max(len(one.text) for one in tally.errors) < 1000
