"""A version host whose processes are real; the tests of a module share the one that forks, which takes a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio
import uvloop

from tests.support.real_hosts import RealHost, real_host


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on uvloop, too: Ray's workers use it, and it raises where asyncio does not."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_host() -> AsyncIterator[RealHost]:
    """A host for the tests of a module."""
    async with real_host() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def host(shared_host: RealHost) -> AsyncIterator[RealHost]:
    """A host without versions and logs."""
    yield shared_host
    await shared_host.clear()
