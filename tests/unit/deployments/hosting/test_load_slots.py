"""How many versions load at a time."""

from __future__ import annotations

import asyncio

import pytest

from deployments.hosting.load_slots import LoadSlots


async def test_loads_wait_for_a_core() -> None:
    """More at a time would only make each of them slower."""
    slots, most, now = LoadSlots(2), 0, 0

    async def load() -> None:
        nonlocal most, now
        async with slots.one():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(load() for _ in range(10)))

    assert most == 2


async def test_a_load_that_takes_long_gives_its_core_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for storage, or hangs; at its end it gives nothing back a second time."""
    monkeypatch.setattr("deployments.hosting.load_slots.LONGEST_S", 0.01)
    slots, held = LoadSlots(1), asyncio.Event()

    async def hang() -> None:
        async with slots.one():
            await held.wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    async with asyncio.timeout(10.0), slots.one():
        held.set()
        await hanging
        second = asyncio.create_task(hang())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not second.done()
    await second
