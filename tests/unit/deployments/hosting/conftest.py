"""A version host whose processes are real; the tests of a module share the one that forks, which takes a second."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.real_hosts import RealHost, real_host


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
