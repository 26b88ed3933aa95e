"""Tests of how running versions hear of changed request logs, with a stand-in for Serve's handles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from ray.serve.exceptions import RayServeException

from core.config.model_config import LoggingConfig
from core.routing.transport import Endpoint
from deployments.routing import version_transport
from deployments.routing.version_transport import VersionTransport

APP = "m:1"
ONE = (LoggingConfig(filename_prefix="/logs/one", sampling_rate=1.0),)
TWO = (LoggingConfig(filename_prefix="/logs/two", sampling_rate=1.0),)


class Handles:
    """Serve's handles: remembers what replicas were told with each question for their address."""

    def __init__(self) -> None:
        self.told: list[tuple[LoggingConfig, ...]] = []
        self.fails = False
        self.failures = 0
        self.gate: asyncio.Event | None = None

    def handle(self, app: str) -> Handles:
        return self

    def broadcast(self, method: str, logs: tuple[LoggingConfig, ...]) -> Handles:
        assert method == "endpoint"
        if self.fails:
            self.failures += 1
            raise RayServeException("no replicas")
        self.told.append(logs)
        return self

    async def results_async(self) -> list[Endpoint]:
        if self.gate is not None:
            await self.gate.wait()
        return []

    async def forget(self, app: str) -> None:
        """Drop a handle."""


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[VersionTransport, Handles]]:
    """A transport that is connected to one version, and looks after its connections all the time."""
    monkeypatch.setattr(version_transport, "SAMPLE_LOAD_EVERY_S", 0.001)
    monkeypatch.setattr(version_transport, "RETRY_AFTER_S", 0.0)
    transport, handles = VersionTransport("node"), Handles()
    transport._handles = handles
    transport.log_requests({APP: ONE})
    await transport.connect([APP])
    looking = asyncio.create_task(transport.follow_load())
    yield transport, handles
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking


async def until_told(handles: Handles, logs: tuple[LoggingConfig, ...]) -> None:
    """Wait until replicas were told last of these logs."""
    async with asyncio.timeout(10):
        while not handles.told or handles.told[-1] != logs:
            await asyncio.sleep(0.001)


async def test_a_new_version_is_told_with_the_first_question(site: tuple[VersionTransport, Handles]) -> None:
    """It may have been deployed under an older configuration."""
    _, handles = site

    assert handles.told[0] == ONE


async def test_a_changed_configuration_is_told(site: tuple[VersionTransport, Handles]) -> None:
    """Nothing is deployed again for it."""
    transport, handles = site

    transport.log_requests({APP: TWO})
    await until_told(handles, TWO)
    transport.log_requests({})

    await until_told(handles, ())


async def test_replicas_that_start_later_are_told(site: tuple[VersionTransport, Handles]) -> None:
    """Every question for addresses tells what is logged."""
    _, handles = site
    count = len(handles.told)

    async with asyncio.timeout(10):
        while len(handles.told) < count + 3:
            await asyncio.sleep(0.001)

    assert set(handles.told) == {ONE}


async def test_what_could_not_be_told_is_told_later(site: tuple[VersionTransport, Handles]) -> None:
    """A version without replicas for a moment misses nothing."""
    transport, handles = site
    handles.fails = True
    transport.log_requests({APP: TWO})
    async with asyncio.timeout(10):
        while not handles.failures:
            await asyncio.sleep(0.001)
    assert TWO not in handles.told

    handles.fails = False

    await until_told(handles, TWO)


async def test_a_change_while_a_question_is_on_its_way_is_told(site: tuple[VersionTransport, Handles]) -> None:
    """The answer to the old question does not count for the new configuration."""
    transport, handles = site
    handles.gate = asyncio.Event()
    count = len(handles.told)
    async with asyncio.timeout(10):
        while len(handles.told) == count:
            await asyncio.sleep(0.001)

    transport.log_requests({APP: TWO})
    handles.gate.set()

    await until_told(handles, TWO)


async def test_a_version_that_left_is_told_nothing(site: tuple[VersionTransport, Handles]) -> None:
    """It goes on as it was until it ends."""
    transport, handles = site
    async with asyncio.timeout(10):
        while transport._refreshing:
            await asyncio.sleep(0.001)
        await transport.keep_only([])

    transport.log_requests({APP: TWO})
    transport.refresh_due()

    assert not transport._refreshing
    assert TWO not in handles.told
