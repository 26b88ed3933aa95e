"""Cancels a long request whose client has closed its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from deployments.rest.asgi import Receive
from deployments.rest.body import ClientGone

T = TypeVar("T")

WATCH_AFTER_S = 0.5
"""Only a call that takes this long is watched: watching takes a task."""


class DisconnectWatch:
    """Cancels the current task when its client has gone; a short call costs one timer only."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._request = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)
        self.client_gone = False

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        if self._request is not None:
            self._request.cancel()

    def stop(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


async def watched(work: Awaitable[T], receive: Receive) -> T:
    """Await the work on a request whose body is read, as long as its client stays; raises ClientGone, too."""
    watch = DisconnectWatch(receive)
    try:
        return await work
    except asyncio.CancelledError:
        if watch.client_gone:
            raise ClientGone from None
        raise
    finally:
        watch.stop()
