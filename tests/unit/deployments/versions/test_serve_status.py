"""Serve is listened to until something of ours has changed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from ray.serve._private.long_poll import LongPollNamespace, LongPollState, UpdatedObject

from core.versions.servable import DEPLOYMENT
from deployments.versions import serve_status
from deployments.versions.serve_status import ServeStatus

KEY = (LongPollNamespace.DEPLOYMENT_TARGETS, DEPLOYMENT)


class Controller:
    """Answers each question by the next of the given answers; also the client, and the method, of Serve."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[Any, int]] = []
        self._controller = self.listen_for_change = self

    async def remote(self, keys: dict[Any, int]) -> Any:
        self.asked.append(keys)
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no pause pass."""
    monkeypatch.setattr(serve_status, "TOGETHER_S", 0.0)
    monkeypatch.setattr(serve_status, "AGAIN_AFTER_S", 0.0)


def listened(monkeypatch: pytest.MonkeyPatch, controller: Controller | None, times: int = 1) -> None:
    """Wait for so many changes."""
    monkeypatch.setattr(serve_status, "_get_global_client", lambda **_: controller)
    status = ServeStatus()

    async def listen() -> None:
        for _ in range(times):
            await status.changed()

    asyncio.run(listen())


def test_what_was_heard_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller answers at once whatever the asker has not heard."""
    controller = Controller({KEY: UpdatedObject(None, 7, 0.0)}, {KEY: UpdatedObject(None, 8, 0.0)})

    listened(monkeypatch, controller, times=2)

    assert [asked[KEY] for asked in controller.asked] == [-1, 7]


def test_an_answer_for_want_of_changes_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller gives one every minute."""
    controller = Controller(LongPollState.TIME_OUT, LongPollState.TIME_OUT, {})

    listened(monkeypatch, controller)

    assert len(controller.asked) == 3


def test_without_serve_all_counts_as_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is about to start, or was shut down."""
    listened(monkeypatch, None)

    assert ServeStatus().of_all() == {}


class Heard(BaseException):
    """Enough was heard."""


def followed(status: ServeStatus, times: int) -> None:
    """Follow until so many changes were told."""
    left = iter(range(times - 1))

    def told() -> None:
        if next(left, None) is None:
            raise Heard

    with pytest.raises(Heard):
        asyncio.run(status.follow(told))


def test_every_change_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other."""
    controller = Controller({KEY: UpdatedObject(None, 7, 0.0)}, {KEY: UpdatedObject(None, 8, 0.0)})
    monkeypatch.setattr(serve_status, "_get_global_client", lambda **_: controller)

    followed(ServeStatus(), times=2)

    assert len(controller.asked) == 2


@pytest.mark.parametrize("error", [AttributeError("listen_for_change"), KeyError("snapshot_id"), ConnectionError()])
def test_what_cannot_be_heard_counts_as_a_change_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Another Ray may lack what is asked here; all is then looked at every second."""

    def client(**_: Any) -> None:
        raise error

    monkeypatch.setattr(serve_status, "_get_global_client", client)

    with caplog.at_level(logging.INFO):
        followed(ServeStatus(), times=5)

    assert [record.getMessage().split()[:2] for record in caplog.records] == [["serve_not_followed", "times=1"]]
