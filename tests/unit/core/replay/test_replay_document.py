"""Tests of the document of a replay, above all of its verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from core.replay.recorded_requests import NotReplayed
from core.replay.replay_tally import ReplayTally
from tests.unit.core.replay.test_replay_tally import add, bad, good

Document = dict[str, Any]
Make = Callable[..., Document]


def test_the_document_is_json_with_all_numbers(document: Document, tally: ReplayTally) -> None:
    """Programs read it."""
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["results"] == {
        "identical": 95, "within": 1, "outside": 1, "structural": 1, "failed": 1, "old_failed": 0, "both_failed": 1,
    }  # fmt: skip
    assert document["noise"]["old"]["within"] == 1
    assert {one["name"]: one["flips"] for one in document["outputs"]} == {"y": 1, "<i>&": 0}
    assert document["requests"]["replayed"] == tally.requests == 100
    assert [one["version"] for one in document["errors"]].count("8") == 2


def test_what_is_left_out_is_told(tally: ReplayTally, make: Make) -> None:
    """Otherwise a share of the file would look like all of it."""
    document = make(tally, NotReplayed(3, "2: no", "a: truncated"))

    assert document["requests"]["left_out"] == 3
    assert document["requests"]["left_out_because"] == "2: no"
    assert document["requests"]["ended"] == "a: truncated"


def test_buckets_of_distances_add_up_to_all_pairs(document: Document) -> None:
    """Equal ones are in the first."""
    for one in document["outputs"]:
        assert sum(one["relative_l2"]["buckets"]) == one["pairs"] == 97
        assert len(one["relative_l2"]["buckets"]) == 13
        assert one["relative_l2"]["p50"] == 0.0


def test_versions_are_the_same_within_the_tolerance(make: Make) -> None:
    """Other bits are expected of another build of the same model."""
    tally = ReplayTally()
    add(tally, good([1.0]), good([1.0001]))

    assert (make(tally)["verdict"], make(tally)["because"]) == ("same", [])


@pytest.mark.parametrize(
    ("new", "because"),
    [
        (good([2.0]), "1 of 1 answers are outside of the tolerance"),
        (good([1.0, 2.0]), "1 of 1 answers have other outputs, types or shapes"),
        (bad(), "1 of 1 answers fail in 8 alone"),
    ],
)
def test_one_request_is_a_difference_where_the_old_version_repeats_itself(new: Any, because: str, make: Make) -> None:
    """And the reason is told."""
    tally = ReplayTally()
    add(tally, good([1.0]), new, new_again=new)

    assert (make(tally)["verdict"], make(tally)["because"]) == ("different", [because])


def test_what_the_old_version_does_by_chance_is_no_difference(make: Make) -> None:
    """A model that draws numbers differs from itself as much."""
    tally = ReplayTally()
    for _ in range(50):
        add(tally, good([1.0]), good([2.0]), old_again=good([3.0]))
        add(tally, good([1.0]), good([1.0]))
    assert make(tally)["verdict"] == "same"

    for _ in range(30):
        add(tally, good([1.0]), good([2.0]))
    assert make(tally)["because"] == ["80 of 130 answers are outside of the tolerance, 50 by chance"]


def test_a_share_outside_may_be_allowed(make: Make) -> None:
    """A new model is meant to differ."""
    tally = ReplayTally()
    for place in range(100):
        add(tally, good([1.0]), good([2.0] if place < 5 else [1.0]))

    assert make(tally, allowed_outside=0.05)["verdict"] == "same"
    assert make(tally, allowed_outside=0.04)["verdict"] == "different"


def test_without_an_answer_of_both_nothing_is_known(make: Make) -> None:
    """That is not the same as no difference."""
    tally = ReplayTally()
    add(tally, bad(), good([1.0]))

    assert make(tally)["verdict"] == make(ReplayTally())["verdict"] == "unknown"
    assert make(tally)["latency"] == {"old": None, "new": None}


def test_a_new_version_that_differs_from_itself_is_told_so(make: Make) -> None:
    """Then the difference may be no more than that: a layer that draws numbers was left on, for example."""
    tally = ReplayTally()
    add(tally, good([1.0]), good([2.0]), new_again=good([3.0]))

    assert make(tally)["because"] == ["1 of 1 answers are outside of the tolerance; 8 differs from itself as well"]
