"""Tests of which version may become the next one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.delivery.rollout_record import NO_RECORD, Rejection
from core.rollouts.candidates import candidate, first_stable, is_rejected, newer_than_canary, withdrawal
from core.rollouts.sight import ModelSight

STABLE = replace(NO_RECORD, stable=7)
SIGHT = ModelSight("m", stored={7: "f7", 8: "f8", 9: "f9"}, chosen=frozenset({9}))
BAD = Rejection("bad", "f9")


@pytest.mark.parametrize(
    ("stored", "chosen", "rejected", "expected"),
    [
        ({7: "f7"}, {7}, {}, 0),
        ({7: "f7", 8: "f8"}, {8}, {}, 8),
        ({7: "f7", 8: "f8", 9: "f9"}, {7, 8, 9}, {}, 9),
        ({7: "f7", 9: "f9"}, {9}, {9: BAD}, 0),
        ({7: "f7", 9: "other"}, {9}, {9: BAD}, 9),
        ({7: "f7", 9: "f9"}, {9}, {9: Rejection("bad")}, 0),
        ({7: "f7", 8: "f8", 9: "f9"}, {8, 9}, {9: BAD}, 0),
        ({7: "f7", 8: "f8", 9: "f9", 10: "f10"}, {10}, {9: BAD}, 10),
        ({6: "f6", 7: "f7"}, {6, 7}, {}, 0),
        ({6: "f6", 7: "f7"}, {6}, {}, 6),
        ({6: "f6"}, {6}, {}, 0),
        ({7: "f7"}, {8}, {}, 0),
        ({7: "f7", 8: "f8"}, set(), {}, 0),
        ({}, set(), {}, 0),
    ],
)
def test_a_candidate_is_newer_than_stable_and_than_all_that_was_rejected(
    stored: dict[int, str], chosen: set[int], rejected: dict[int, Rejection], expected: int
) -> None:
    """Or what the policy has turned to while stable is still there; it must be on storage, complete."""
    sight = ModelSight("m", stored=stored, chosen=frozenset(chosen))

    assert candidate(replace(STABLE, rejected=rejected), sight) == expected


def test_nothing_is_a_candidate_while_storage_cannot_be_read() -> None:
    """What was seen before may be gone."""
    assert candidate(STABLE, replace(SIGHT, is_listed=False)) == 0
    assert newer_than_canary(STABLE, replace(SIGHT, is_listed=False)) == 0


def test_a_rejection_outlives_storage_that_does_not_show_the_version() -> None:
    """A listing that fails, or a directory that is moved away and back, is no pardon."""
    record = replace(STABLE, rejected={9: BAD})

    assert is_rejected(record, 9, replace(SIGHT, stored={}))
    assert is_rejected(record, 9, replace(SIGHT, stored={9: "other"}, is_listed=False))
    assert not is_rejected(record, 9, replace(SIGHT, stored={9: "other"}))
    assert not is_rejected(record, 8, SIGHT)


def test_a_newer_version_than_the_canary_must_be_chosen_and_not_rejected() -> None:
    """Only that one can take its place."""
    record = replace(STABLE, canary=8)

    assert newer_than_canary(record, SIGHT) == 9
    assert newer_than_canary(replace(record, rejected={9: BAD}), SIGHT) == 0
    assert newer_than_canary(replace(record, canary=9), SIGHT) == 0


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({8}, ""),
        ({9}, ""),
        ({7}, "the version policy no longer chooses it"),
        (set(), "the version policy no longer chooses it"),
    ],
)
def test_a_canary_is_withdrawn_by_the_policy_only_if_nothing_newer_is_chosen(chosen: set[int], why: str) -> None:
    """A newer version supersedes it, or waits."""
    assert withdrawal(replace(STABLE, canary=8), replace(SIGHT, chosen=frozenset(chosen))) == why


def test_an_older_canary_is_withdrawn_when_the_policy_is_set_back() -> None:
    """Stable is chosen again, and the way back is not wanted any more."""
    record = replace(STABLE, stable=8, canary=6)
    sight = replace(SIGHT, stored={6: "f6", 8: "f8"})

    assert withdrawal(record, replace(sight, chosen=frozenset({6}))) == ""
    assert withdrawal(record, replace(sight, chosen=frozenset({8}))) == "the version policy no longer chooses it"


def test_a_canary_without_a_directory_is_withdrawn() -> None:
    """As far as storage can be read."""
    record = replace(STABLE, canary=10)

    assert withdrawal(record, SIGHT) == "its directory is gone"
    assert withdrawal(record, replace(SIGHT, is_listed=False)) == ""


def test_a_rejected_version_is_not_the_first_one() -> None:
    """Another that answers is, even if it is older."""
    record = replace(NO_RECORD, rejected={9: BAD})
    sight = replace(SIGHT, available=frozenset({8, 9}))

    assert first_stable(record, sight) == 8
    assert first_stable(record, replace(sight, available=frozenset({9}))) == 0
