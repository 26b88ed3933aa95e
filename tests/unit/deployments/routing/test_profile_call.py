"""Tests of profile requests at a router, with a stand-in for the replica that is recorded."""

from __future__ import annotations

import asyncio

import pytest
from ray.serve.exceptions import RayServeException

from core.admin.messages import profile_request, read_profile_answer
from core.errors import Code, NotFound, RuntimeFailure, Unavailable
from core.profiling.profile_request import ProfileRequest, RecordingOrder
from core.routing.table import ModelRoutes, Route, RoutingTable
from core.versions.servable import ServableId
from deployments.routing import profile_call
from deployments.routing.profile_call import answer_profile

TABLE = RoutingTable(1, {"m": ModelRoutes({3: Route.of(ServableId("m", 3))})}, settled=True)


async def test_the_version_that_answers_is_recorded() -> None:
    """For as long as was asked; the answer names the version."""
    recorded: list[tuple[str, float]] = []

    async def record(route: Route, order: RecordingOrder) -> tuple[int, bytes]:
        recorded.append((route.app, order.seconds))
        return 0, b"trace"

    answer = await answer_profile(lambda: TABLE, record, profile_request(ProfileRequest("m", 2.0)))

    assert recorded == [("m:3", 2.0)]
    assert read_profile_answer(answer) == (b"trace", 3)


async def test_a_model_that_is_not_there_is_not_recorded() -> None:
    """Its error says so."""
    with pytest.raises(NotFound, match="There is no model none"):
        await answer_profile(lambda: TABLE, _unused, profile_request(ProfileRequest("none", 2.0)))


async def test_an_error_of_the_replica_is_passed_on() -> None:
    """With its own code and text."""

    async def record(route: Route, order: RecordingOrder) -> tuple[int, bytes]:
        return int(Code.ABORTED), f"{route.app} is recorded already".encode()

    with pytest.raises(RuntimeFailure, match="m:3 is recorded already") as caught:
        await answer_profile(lambda: TABLE, record, profile_request(ProfileRequest("m", 2.0)))

    assert caught.value.code is Code.ABORTED


async def test_a_replica_that_cannot_be_reached_is_unavailable() -> None:
    """The caller may try again."""

    async def record(route: Route, order: RecordingOrder) -> tuple[int, bytes]:
        raise RayServeException("gone")

    with pytest.raises(Unavailable, match="No replica of m:3 could be recorded: gone"):
        await answer_profile(lambda: TABLE, record, profile_request(ProfileRequest("m", 2.0)))


async def test_a_replica_that_hangs_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time of the recording, and some more for its way back."""
    monkeypatch.setattr(profile_call, "EXTRA_TIME_S", 0.0)

    async def record(route: Route, order: RecordingOrder) -> tuple[int, bytes]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Unavailable):
        await answer_profile(lambda: TABLE, record, profile_request(ProfileRequest("m", 0.1)))


async def test_a_hosted_version_is_recorded_by_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its name; one with an application of its own needs none."""
    asked: list[tuple[object, ...]] = []

    class Handle:
        def __init__(self, *names: str) -> None:
            self.names = names
            self.profile = self

        async def remote(self, *arguments: object) -> tuple[int, bytes]:
            asked.append((*self.names, *arguments))
            return 0, b"trace"

        async def shutdown_async(self) -> None:
            """Let go."""

    monkeypatch.setattr(profile_call, "DeploymentHandle", Handle)

    await profile_call.record_over_handle(Route.of(ServableId("m", 3), "host@n"), RecordingOrder(2.0))
    await profile_call.record_over_handle(Route.of(ServableId("m", 3)), RecordingOrder(2.0))

    order = RecordingOrder(2.0)
    assert asked == [("VersionHost", "host@n", "m:3", order), ("ModelServer", "m:3", order)]


async def test_all_replicas_are_told_that_a_recording_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve does not say which one it has chosen; one that cannot be reached ends by itself."""
    told: list[tuple[object, ...]] = []

    class Handle:
        def __init__(self, *names: str) -> None:
            self.names = names

        def broadcast(self, *arguments: object) -> Handle:
            told.append((*self.names, *arguments))
            return self

        async def results_async(self) -> list[None]:
            if self.names[1] == "gone:1":
                raise RayServeException("gone")
            return [None]

        async def shutdown_async(self) -> None:
            """Let go."""

    monkeypatch.setattr(profile_call, "DeploymentHandle", Handle)

    for route in (
        Route.of(ServableId("m", 3), "host@n"),
        Route.of(ServableId("m", 3)),
        Route.of(ServableId("gone", 1)),
    ):
        await profile_call.end_over_handle(route, "key")

    assert told == [
        ("VersionHost", "host@n", "end_profile", "m:3", "key"),
        ("ModelServer", "m:3", "end_profile", "key"),
        ("ModelServer", "gone:1", "end_profile", "key"),
    ]


async def _unused(route: Route, order: RecordingOrder) -> tuple[int, bytes]:
    raise AssertionError
