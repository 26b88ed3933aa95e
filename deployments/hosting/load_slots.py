"""Bounds how many versions load at a time: as many as there are cores, of those that need one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LONGEST_S: Final = 10.0
"""A load that takes longer waits for something else than cores, or hangs: others need not wait for it."""


class LoadSlots:
    """Slots for loads."""

    def __init__(self, cores: int) -> None:
        self._free = asyncio.Semaphore(cores)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot, for a while at most."""
        await self._free.acquire()
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        late = asyncio.get_running_loop().call_later(LONGEST_S, release)
        try:
            yield
        finally:
            late.cancel()
            release()
