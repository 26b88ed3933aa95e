"""Tests of the messages of orders to rollouts."""

from __future__ import annotations

import pytest

from core.admin.delivery_messages import (
    RolloutAnswer,
    RolloutRequest,
    read_rollout_answer,
    read_rollout_request,
    rollout_answer,
    rollout_request,
)
from core.delivery.split import MirrorSettings
from core.errors import InvalidArgument
from core.protos import admin_pb2

ORDERS = (
    RolloutRequest("m"),
    RolloutRequest("m", "start", version=8, force=True),
    RolloutRequest("m", "promote", full=True, expected_generation=0),
    RolloutRequest("m", "traffic", traffic=(("stable", 9_000), ("8", 1_000)), expected_generation=7),
    RolloutRequest("m", "mirror", mirror=MirrorSettings("8", 1_000, 3)),
    RolloutRequest("m", "mirror"),
)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_an_order_arrives_as_it_was_sent(order: RolloutRequest) -> None:
    """Also the order of its shares, and whether a generation of 0 was expected or none."""
    assert read_rollout_request(rollout_request(order)) == order


def test_copies_in_flight_have_a_default() -> None:
    """A client need not know it."""
    raw = rollout_request(RolloutRequest("m", "mirror", mirror=MirrorSettings("8", 1_000, 0)))

    assert read_rollout_request(raw).mirror == MirrorSettings("8", 1_000)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (admin_pb2.ChangeRolloutRequest(verb="pause"), "model is missing."),
        (admin_pb2.ChangeRolloutRequest(model="m", verb="halt"), "There is no order 'halt'; there are abort, mirror,"),
        (admin_pb2.ChangeRolloutRequest(model="m", version=-1), "version is -1; it cannot be negative."),
        (
            admin_pb2.ChangeRolloutRequest(model="m", mirror=admin_pb2.MirrorTo(version="8", share=10_001)),
            "The share of a mirror is 10001; it is from 0 to 10000 basis points.",
        ),
        (
            admin_pb2.ChangeRolloutRequest(model="m", mirror=admin_pb2.MirrorTo(version="8", max_in_flight=-1)),
            "max_in_flight is -1; it cannot be negative.",
        ),
    ],
    ids=["no model", "verb", "version", "share", "in flight"],
)
def test_an_order_that_says_nothing_sensible_is_refused(request_: admin_pb2.ChangeRolloutRequest, reason: str) -> None:
    """Before it reaches the watcher."""
    with pytest.raises(InvalidArgument, match=reason):
        read_rollout_request(request_.SerializeToString())


def test_what_is_no_message_is_refused() -> None:
    """With the name of the message."""
    with pytest.raises(InvalidArgument, match="not a valid ChangeRolloutRequest"):
        read_rollout_request(b"\xff")


def test_an_answer_arrives_as_it_was_sent() -> None:
    """The record stays text."""
    answer = RolloutAnswer(7, '{"stable": 7}', "Paused.")

    assert read_rollout_answer(rollout_answer(answer)) == answer
