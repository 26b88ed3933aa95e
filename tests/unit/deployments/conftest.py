"""A real S3 for tests of storage, and both kinds of event loops for tests of the direct transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from tests.support.direct_sites import DEADLINE_S, Run
from tests.support.stores.fault_proxy import FaultProxy, environment
from tests.support.stores.object_store import Bucket, s3_server


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """Port of the S3 server of the session."""
    with s3_server() as port:
        yield port


@pytest.fixture
def bucket(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, which this process and its children reach through a proxy that can misbehave."""
    with FaultProxy(s3_port) as proxy:
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        yield Bucket(s3_port, proxy)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request) -> Run:
    """Run a test's coroutine on each kind of loop, with a deadline."""

    def runner(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with asyncio.Runner(loop_factory=request.param) as loop:
            loop.run(asyncio.wait_for(test(), DEADLINE_S))

    return runner
