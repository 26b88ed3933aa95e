"""Tests of how replicas are told to stay, with stand-ins for Serve's handles."""

from __future__ import annotations

import asyncio

import pytest

from deployments.delivery.held_replicas import HELD_FOR_S
from deployments.versions import hold_calls
from deployments.versions.hold_calls import HoldCalls


class Handle:
    """A handle that remembers what it was asked; replicas of `late` never answer."""

    made: dict[str, Handle] = {}  # noqa: RUF012
    late: set[str] = set()  # noqa: RUF012

    def __init__(self, _: str, app: str) -> None:
        self.app, self.told, self.is_open = app, [], True
        self.made[app] = self

    def broadcast(self, method: str, seconds: float) -> Handle:
        self.told.append((method, seconds))
        return self

    async def results_async(self) -> None:
        if self.app in self.late:
            await asyncio.Event().wait()

    async def shutdown_async(self) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def handles(monkeypatch: pytest.MonkeyPatch) -> dict[str, Handle]:
    """The handles that were made."""
    monkeypatch.setattr(hold_calls, "DeploymentHandle", Handle)
    monkeypatch.setattr(hold_calls, "ANSWERED_WITHIN_S", 0.05)
    Handle.made, Handle.late = {}, set()
    return Handle.made


async def test_each_application_is_told_by_one_handle(handles: dict[str, Handle]) -> None:
    """As often as it is held; those that are not any more are let go."""
    calls = HoldCalls()

    await calls.tell(["m:7", "m:8"])
    await calls.tell(["m:8"])

    assert handles["m:7"].told == [("hold", HELD_FOR_S)]
    assert handles["m:8"].told == [("hold", HELD_FOR_S)] * 2
    assert (handles["m:7"].is_open, handles["m:8"].is_open) == (False, True)


async def test_one_that_does_not_answer_is_told_again_later(
    handles: dict[str, Handle], caplog: pytest.LogCaptureFixture
) -> None:
    """The other one is told all the same."""
    caplog.set_level("INFO")
    Handle.late = {"m:7"}
    calls = HoldCalls()

    await calls.tell(["m:7", "m:8"])
    await calls.tell(["m:7"])

    assert len(handles["m:7"].told) == 2
    assert handles["m:8"].told == [("hold", HELD_FOR_S)]
    assert "replicas_not_held app=m:7" in caplog.text
