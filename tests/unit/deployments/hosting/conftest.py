"""A version host whose processes are real; each test has one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.real_hosts import RealHost, real_host


@pytest.fixture
async def host() -> AsyncIterator[RealHost]:
    """A host without versions."""
    async with real_host() as one:
        yield one
