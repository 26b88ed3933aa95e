"""Tests of the notices of what happens to rollouts."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping

import pytest

from core.delivery.rollout_record import Happening
from deployments.delivery import notices
from deployments.delivery.notices import ATTEMPTS, Notices
from tests.support.clients import wait_until

STEP = Happening(1_700_000_000.0, "rollout_step", 8, "5 % of requests")


class Receiver:
    """Takes notices, and answers what the test says."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.taken: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> str:
        self.taken.append((url, body, headers))
        self.may_answer.wait(30)
        return self.answers.pop(0) if self.answers else "200"


def test_a_notice_is_a_cloud_event() -> None:
    """With the time, the model and version, and the numbers."""
    receiver = Receiver()

    assert Notices(receiver).tell("http://tool", "m", STEP, {"stable": 7})

    wait_until(lambda: bool(receiver.taken), "it was sent")
    url, body, headers = receiver.taken[0]
    event = json.loads(body)
    assert url == "http://tool"
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    assert event.pop("id")
    assert event == {
        "specversion": "1.0",
        "source": "/ray_model_server/models/m",
        "type": "ray_model_server.rollout_step",
        "time": "2023-11-14T22:13:20.000Z",
        "subject": "m:8",
        "datacontenttype": "application/json",
        "data": {"model": "m", "version": 8, "text": "5 % of requests", "stable": 7},
    }


def test_a_receiver_that_fails_is_tried_again_and_then_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """The loss is logged."""
    receiver = Receiver(*["500"] * ATTEMPTS)

    Notices(receiver, lambda _: None).tell("http://u:pass@tool", "m", STEP, {})

    wait_until(lambda: "rollout_notice_lost" in caplog.text, "it was given up")
    assert len(receiver.taken) == ATTEMPTS
    assert "pass" not in caplog.text


def test_one_that_recovers_gets_it_once() -> None:
    """A second answer ends the attempts."""
    receiver = Receiver("500")
    sender = Notices(receiver, lambda _: None)

    sender.tell("http://tool", "m", STEP, {})
    sender.tell("http://tool", "n", STEP, {})

    wait_until(lambda: len(receiver.taken) == 3, "both were sent")


def test_a_receiver_that_hangs_costs_only_notices(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond a bound they are dropped, and that is logged."""
    monkeypatch.setattr(notices, "MOST_WAITING", 3)
    receiver = Receiver()
    receiver.may_answer.clear()
    sender = Notices(receiver)

    told = [sender.tell("http://tool", "m", STEP, {}) for _ in range(5)]

    assert told == [True, True, True, False, False]
    assert "rollout_notice_dropped" in caplog.text
    receiver.may_answer.set()
    wait_until(lambda: sender.tell("http://tool", "m", STEP, {}), "there is room again")
