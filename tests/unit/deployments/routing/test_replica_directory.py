"""Tests of addresses, of loads, and of the settings of request logs that travel with them; Serve's handles are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from ray.serve.exceptions import RayServeException

from core.config.model_config import LoggingConfig
from core.routing.transport import Endpoint
from deployments.routing import replica_directory
from deployments.routing.direct_connection import DirectConnection
from deployments.routing.replica_directory import ReplicaDirectory

APP = "m:1"
ONE = (LoggingConfig(filename_prefix="/logs/one", sampling_rate=1.0),)
TWO = (LoggingConfig(filename_prefix="/logs/two", sampling_rate=1.0),)


class Handles:
    """Serve's handles: remembers the settings that each broadcast for addresses carried."""

    def __init__(self) -> None:
        self.sent: list[tuple[LoggingConfig, ...]] = []
        self.fails = False
        self.failures = 0
        self.gate: asyncio.Event | None = None
        self.endpoints: list[Endpoint] = []

    def handle(self, app: str) -> Handles:
        return self

    def broadcast(self, method: str, logs: tuple[LoggingConfig, ...]) -> Handles:
        assert method == "endpoint"
        if self.fails:
            self.failures += 1
            raise RayServeException("no replicas")
        self.sent.append(logs)
        return self

    async def results_async(self) -> list[Endpoint]:
        if self.gate is not None:
            await self.gate.wait()
        return self.endpoints

    async def forget(self, app: str) -> None:
        """Drop a handle."""


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ReplicaDirectory, Handles]]:
    """A directory that follows one version, and refreshes its addresses all the time."""
    monkeypatch.setattr(replica_directory, "SAMPLE_LOAD_EVERY_S", 0.001)
    monkeypatch.setattr(replica_directory, "RETRY_AFTER_S", 0.0)
    handles = Handles()
    directory = ReplicaDirectory("node", handles)
    directory.log_requests({APP: ONE})
    await directory.connect([APP])
    looking = asyncio.create_task(directory.follow_load())
    yield directory, handles
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking


async def until_sent(handles: Handles, logs: tuple[LoggingConfig, ...]) -> None:
    """Wait until these settings were the last ones sent."""
    async with asyncio.timeout(60):
        while not handles.sent or handles.sent[-1] != logs:
            await asyncio.sleep(0.001)


async def test_a_new_version_gets_its_settings_with_the_first_broadcast(site: tuple[ReplicaDirectory, Handles]) -> None:
    """It may have been deployed under an older configuration."""
    _, handles = site

    assert handles.sent[0] == ONE


async def test_a_changed_configuration_is_sent(site: tuple[ReplicaDirectory, Handles]) -> None:
    """Nothing is deployed again for it."""
    directory, handles = site

    directory.log_requests({APP: TWO})
    await until_sent(handles, TWO)
    directory.log_requests({})

    await until_sent(handles, ())


async def test_replicas_that_start_later_get_the_settings_too(site: tuple[ReplicaDirectory, Handles]) -> None:
    """Every broadcast for addresses sends what is logged."""
    _, handles = site
    count = len(handles.sent)

    async with asyncio.timeout(60):
        while len(handles.sent) < count + 3:
            await asyncio.sleep(0.001)

    assert set(handles.sent) == {ONE}


async def test_settings_that_could_not_be_sent_are_sent_later(site: tuple[ReplicaDirectory, Handles]) -> None:
    """A version without replicas for a moment misses nothing."""
    directory, handles = site
    handles.fails = True
    directory.log_requests({APP: TWO})
    async with asyncio.timeout(60):
        while not handles.failures:
            await asyncio.sleep(0.001)
    assert TWO not in handles.sent

    handles.fails = False

    await until_sent(handles, TWO)


async def test_a_change_during_a_broadcast_is_sent_after_it(site: tuple[ReplicaDirectory, Handles]) -> None:
    """The answer to the old broadcast does not count for the new configuration."""
    directory, handles = site
    handles.gate = asyncio.Event()
    count = len(handles.sent)
    async with asyncio.timeout(60):
        while len(handles.sent) == count:
            await asyncio.sleep(0.001)

    directory.log_requests({APP: TWO})
    handles.gate.set()

    await until_sent(handles, TWO)


async def test_a_version_that_left_gets_no_settings(site: tuple[ReplicaDirectory, Handles]) -> None:
    """It goes on as it was until it ends."""
    directory, handles = site
    async with asyncio.timeout(60):
        while directory._refreshing:
            await asyncio.sleep(0.001)
        await directory.keep_only([])

    directory.log_requests({APP: TWO})
    directory.refresh_due()

    assert not directory._refreshing
    assert TWO not in handles.sent


async def test_what_calls_the_runs_is_known_of_connected_replicas(site: tuple[ReplicaDirectory, Handles]) -> None:
    """Replicas on nodes with different installations are told apart."""
    directory, _ = site
    assert directory.runs_by() == {APP: ""}

    for port, runs_by in enumerate(("python", "compiled", "")):
        endpoint = Endpoint("127.0.0.1", port, b"", f"r{port}", runs_by=runs_by)
        directory.replicas[APP]._connections[endpoint] = DirectConnection(endpoint)

    assert directory.runs_by() == {APP: "compiled, python"}
