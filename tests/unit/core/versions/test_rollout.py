"""Tests of the order of loads and unloads: one table of cases, then the rules over all streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.model_config import Rollout
from core.versions.lifecycle import State
from core.versions.rollout import Action, RolloutVerb, VersionSnapshot, load_rank, next_action

AVAILABILITY = Rollout.AVAILABILITY_PRESERVING
RESOURCE = Rollout.RESOURCE_PRESERVING
STATES = {
    "new": State.START,
    "loading": State.LOADING,
    "ready": State.AVAILABLE,
    "unload-requested": State.UNLOADING,
    "unloading": State.UNLOADING,
    "disabled": State.END,
    "error": State.END,
}


def stream(text: str) -> list[VersionSnapshot]:
    """Read `1:ready:y 2:new:n` as TensorFlow Serving's cases are written."""
    parts = [entry.split(":") for entry in text.split()]
    return [VersionSnapshot(int(version), STATES[state], aspired == "y") for version, state, aspired in parts]


CASES = [
    pytest.param(AVAILABILITY, "", None, id="nothing_there"),
    pytest.param(
        AVAILABILITY, "1:unloading:n 2:error:n 3:ready:n 4:ready:y 5:new:y", Action(RolloutVerb.UNLOAD, 3), id="case_L2"
    ),
    pytest.param(AVAILABILITY, "1:ready:y 2:error:y 3:loading:y 4:unloading:n 5:disabled:n", None, id="case_L4"),
    pytest.param(AVAILABILITY, "1:ready:n 2:loading:y 3:ready:y", Action(RolloutVerb.UNLOAD, 1), id="case_L7"),
    pytest.param(AVAILABILITY, "1:ready:n 2:error:y 3:ready:y", Action(RolloutVerb.UNLOAD, 1), id="case_L8"),
    pytest.param(
        AVAILABILITY, "2:ready:n 1:ready:n 3:error:y 4:loading:y", Action(RolloutVerb.UNLOAD, 1), id="case_L9"
    ),
    pytest.param(AVAILABILITY, "1:ready:n 2:error:y", None, id="a_failed_successor_keeps_the_old_one"),
    pytest.param(AVAILABILITY, "1:ready:n 2:new:y", Action(RolloutVerb.LOAD, 2), id="load_before_unload"),
    pytest.param(AVAILABILITY, "1:ready:n 2:ready:n", Action(RolloutVerb.UNLOAD, 1), id="nothing_aspired"),
    pytest.param(AVAILABILITY, "1:new:y 2:new:y 3:new:n", Action(RolloutVerb.LOAD, 2), id="the_newest_aspired_first"),
    pytest.param(
        RESOURCE, "1:ready:y 2:loading:y 3:new:y 4:disabled:n 5:new:y", Action(RolloutVerb.LOAD, 5), id="case_L11"
    ),
    pytest.param(RESOURCE, "1:unload-requested:n 2:new:y", None, id="case_L13"),
    pytest.param(RESOURCE, "1:error:n 2:new:y", Action(RolloutVerb.LOAD, 2), id="case_L14"),
    pytest.param(RESOURCE, "1:error:n 2:disabled:n 3:new:y", Action(RolloutVerb.LOAD, 3), id="case_L16"),
    pytest.param(RESOURCE, "1:ready:n 2:new:y", Action(RolloutVerb.UNLOAD, 1), id="unload_before_load"),
    pytest.param(RESOURCE, "3:ready:n 1:ready:n 2:new:y", Action(RolloutVerb.UNLOAD, 3), id="in_the_order_given"),
    pytest.param(RESOURCE, "1:loading:n 2:new:y", None, id="a_load_that_is_not_wanted_is_waited_for"),
    pytest.param(RESOURCE, "1:ready:y", None, id="all_done"),
]


@pytest.mark.parametrize(("rollout", "text", "expected"), CASES)
def test_the_next_action_of_a_stream(rollout, text, expected) -> None:
    """The stock cases of both policies."""
    assert next_action(rollout, stream(text)) == expected


snapshots = st.builds(VersionSnapshot, st.integers(1, 9), st.sampled_from(State), st.booleans())
streams = st.lists(snapshots, max_size=6, unique_by=lambda one: one.version)


@given(st.sampled_from(Rollout), streams)
def test_only_aspired_new_versions_load_and_only_retired_available_ones_unload(rollout, one_stream) -> None:
    """An action always fits the version it names."""
    action = next_action(rollout, one_stream)

    if action is not None:
        chosen = next(one for one in one_stream if one.version == action.version)
        if action.verb is RolloutVerb.LOAD:
            assert (chosen.aspired, chosen.state) == (True, State.START)
        else:
            assert (chosen.aspired, chosen.state) == (False, State.AVAILABLE)


@given(streams)
def test_the_last_answering_version_stays_until_a_successor_answers(one_stream) -> None:
    """Availability-preserving never takes the last AVAILABLE version while any version is aspired."""
    action = next_action(AVAILABILITY, one_stream)

    available = {one.version for one in one_stream if one.state is State.AVAILABLE}
    if action is not None and action.verb is RolloutVerb.UNLOAD and any(one.aspired for one in one_stream):
        assert available - {action.version}


@given(streams)
def test_resource_preserving_loads_only_when_nothing_retired_holds_resources(one_stream) -> None:
    """Of two versions for which there is one place, the old one goes first."""
    action = next_action(RESOURCE, one_stream)

    held = [one for one in one_stream if not one.aspired and one.state not in {State.START, State.END}]
    if action is not None and action.verb is RolloutVerb.LOAD:
        assert not held


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ({}, [4, 3, 2, 1]),
        ({"stable": 1}, [1, 4, 3, 2]),
        ({"stable": 1, "canary": 3}, [1, 3, 4, 2]),
        ({"stable": 3}, [3, 2, 1, 4]),
        ({"stable": 3, "canary": 4}, [3, 4, 2, 1]),
        ({"canary": 2}, [2, 4, 3, 1]),
        ({"canary": 4, "old": 1}, [4, 1, 3, 2]),
        ({"stable": 9}, [4, 3, 2, 1]),
    ],
)
@pytest.mark.parametrize("rollout", Rollout)
def test_versions_that_requests_are_sent_to_load_first(labels, order, rollout) -> None:
    """Labels, then what is older than the established one; without labels the order is TensorFlow Serving's."""
    states = dict.fromkeys((1, 2, 3, 4), State.START)
    loaded = []
    while State.START in states.values():
        ranks = {version: load_rank(version, labels, states) for version in states}
        stream = [
            VersionSnapshot(version, state, aspired=True, rank=ranks[version]) for version, state in states.items()
        ]
        loaded.append(next_action(rollout, stream).version)
        states[loaded[-1]] = State.LOADING

    assert loaded == order
