"""A child among hosts that come and go, with a version that stands in for a loaded one."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from core.routing.transport import Endpoint
from deployments.hosting.child import Child
from deployments.hosting.child_link import ChildLink
from deployments.hosting.messages import Ask


class SlowVersion:
    """A version whose health takes a while to tell; its address is of no use."""

    address = Endpoint("127.0.0.1", 1, b"", "r")

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def check_health(self) -> None:
        self.is_asked.set()
        await self.may_answer.wait()

    def endpoint(self, logs: object) -> Endpoint:
        return self.address


@asynccontextmanager
async def a_child(version: SlowVersion) -> AsyncIterator[str]:
    """A child in this process, with a version; yields the path at which hosts find it."""
    with TemporaryDirectory(prefix="h") as folder:
        path = str(Path(folder, "s"))
        child = Child(socket.socket(), os.open(os.devnull, os.O_RDONLY), path)
        child._version = version
        server = await asyncio.start_unix_server(child._attend, path)
        yield path
        server.close()
        child._listener.close()
        os.close(child._guardian)


async def test_an_answer_goes_to_the_host_that_asked() -> None:
    """The next host counts its questions from the same number on, and would take it for the answer to its own."""
    version = SlowVersion()
    async with a_child(version) as path, asyncio.timeout(30.0):
        former = await ChildLink.to(path)
        asked = asyncio.create_task(former.ask(Ask.HEALTH, timeout_s=30.0))
        await version.is_asked.wait()

        host = await ChildLink.to(path)
        heard: list[object] = []
        take = host._take
        host._take = lambda message: (heard.append(message), take(message))  # type: ignore[method-assign]
        await former.ended()
        version.may_answer.set()
        endpoint = await host.ask(Ask.ENDPOINT, (), timeout_s=30.0)

        assert endpoint == version.address
        assert len(heard) == 1
        await asyncio.gather(asked, return_exceptions=True)
