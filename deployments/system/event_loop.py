"""An event loop in a thread of its own, so that Serve's loops and ours cannot delay each other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class LoopThread:
    """A uvloop event loop that runs in a daemon thread until `stop`."""

    def __init__(self, name: str) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._turn, name=name, daemon=True)
        self._thread.start()

    def _turn(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; callable from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def ping(self, timeout_s: float) -> None:
        """Wait until the loop has run a coroutine; raises TimeoutError."""
        await asyncio.wait_for(asyncio.wrap_future(self.run(asyncio.sleep(0))), timeout_s)

    def stop(self) -> None:
        """End the loop; work that is still on it is dropped."""
        self.loop.call_soon_threadsafe(self.loop.stop)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        self._thread.join(timeout_s)
